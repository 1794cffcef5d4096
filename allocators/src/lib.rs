//! With what.
