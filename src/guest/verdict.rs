//! [`Verdict`]: which backend serves a node, and why the others do not.

use std::fmt;

/// The dialects of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// This project's own protocol.
    Alloc,
    /// rutabaga's and crosvm's cross-domain contexts.
    CrossDomain,
    /// virglrenderer's resources.
    Virgl,
    /// Hosts with a 2D device.
    Dumb,
}

impl BackendKind {
    /// All of them, the best first.
    pub const ALL: [Self; 4] = [Self::Alloc, Self::CrossDomain, Self::Virgl, Self::Dumb];

    /// All of them, the best first where the host draws with virgl, and only into what virgl has made.
    pub const DRAWN: [Self; 4] = [Self::Virgl, Self::Alloc, Self::CrossDomain, Self::Dumb];

    /// Its name, for lists and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alloc => "alloc",
            Self::CrossDomain => "cross-domain",
            Self::Virgl => "virgl",
            Self::Dumb => "dumb",
        }
    }
}

/// Why a backend was chosen or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The backend.
    pub kind: BackendKind,
    /// Whether it serves the node.
    pub chosen: bool,
    /// What the host offers or lacks.
    pub reason: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.reason)
    }
}
