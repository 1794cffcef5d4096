//! What is executed.
