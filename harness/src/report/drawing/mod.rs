//! How a plot is drawn: a sheet of shapes ([`Canvas`]), scales ([`axis`]) and colours ([`palette`]), and the two forms that a
//! sheet is written in, a PNG (`raster`) and an `svg` element ([`svg`]). Nothing here knows what is plotted.

pub(super) mod axis;
mod canvas;
mod indexed;
mod letters;
pub(super) mod palette;
mod raster;
mod shape;
pub(super) mod svg;

pub(super) use canvas::{Anchor, Canvas, MAX_HEIGHT, draw};
pub(super) use shape::{BODY, Corners, Svg, Type, WIDTH};
