//! How a plot is drawn: a sheet of shapes ([`canvas`]), its scales ([`axis`]) and colours ([`palette`]), and the two forms
//! that it is written in, a PNG ([`raster`]) and an `svg` element ([`svg`]).
//!
//! Nothing here knows what is plotted.

pub(in crate::report) mod axis;
pub(in crate::report) mod canvas;
mod letters;
pub(in crate::report) mod palette;
mod raster;
pub(in crate::report) mod svg;
