//! A shared library that serves the malloc family by jemalloc.
