//! Calls about names: by the bytes that the server knows them by, or refused.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::{Errno, INodeNo, Request};

use super::codepage::Codepage;
use super::dispatch::Dispatch;
use super::slot::Call;
use crate::fs::FsError;

/// How names come in.
pub(super) struct Naming {
    codepage: Codepage,
    /// Whom to tell of a name that is refused.
    dispatch: Arc<Dispatch>,
}

impl Naming {
    pub(super) fn new(codepage: Codepage, dispatch: Arc<Dispatch>) -> Self {
        Self { codepage, dispatch }
    }

    /// A call about a name that may be there.
    ///
    /// # Errors
    /// ENOENT: no name of the server is seen as this one.
    pub(super) fn known(
        &self,
        operation: &'static str,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
    ) -> Result<Call, Errno> {
        let found = self.codepage.on_server(name.as_bytes());
        let name = found.ok_or(Errno::ENOENT)?;
        Ok(Call::named(operation, request, parent.0, &name))
    }

    /// A call about a name that is to be made.
    ///
    /// # Errors
    /// EILSEQ: the encoding has no bytes for it.
    pub(super) fn new_name(
        &self,
        operation: &'static str,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
    ) -> Result<Call, Errno> {
        let call = |name: &[u8]| Call::named(operation, request, parent.0, name);
        let name = name.as_bytes();
        match self.codepage.for_new(name) {
            Some(name) => Ok(call(&name)),
            None => Err(self.refused(&call(name))),
        }
    }

    /// A further name that is to be made.
    ///
    /// # Errors
    /// As [`Naming::new_name`].
    pub(super) fn also_new(&self, call: &Call, name: &OsStr) -> Result<Vec<u8>, Errno> {
        self.owned(call, self.codepage.for_new(name.as_bytes()))
    }

    /// The target of a link that is to be made.
    ///
    /// # Errors
    /// As [`Naming::new_name`].
    pub(super) fn target(&self, call: &Call, target: &OsStr) -> Result<Vec<u8>, Errno> {
        self.owned(call, self.codepage.path_for_new(target.as_bytes()))
    }

    fn owned(&self, call: &Call, name: Option<Cow<'_, [u8]>>) -> Result<Vec<u8>, Errno> {
        name.map(Cow::into_owned).ok_or_else(|| self.refused(call))
    }

    fn refused(&self, call: &Call) -> Errno {
        self.dispatch.failed(call, &FsError::Errno(libc::EILSEQ))
    }
}
