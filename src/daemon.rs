//! Going to the background; telling the parent "mounted", or the exact reason why not.
