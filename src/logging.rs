//! `env_logger` set-up; secrets are never printed.
