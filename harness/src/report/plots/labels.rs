//! Where the labels of points go, so that none covers another or a point.
//!
//! Each label takes the first free position around its point, near ones first. Pure: sizes in, positions out.

/// A rectangle of the sheet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Area {
    /// The rectangle of this size around a point.
    pub(super) fn around(centre: (f64, f64), size: (f64, f64)) -> Area {
        Area {
            left: centre.0 - size.0 / 2.0,
            right: centre.0 + size.0 / 2.0,
            top: centre.1 - size.1 / 2.0,
            bottom: centre.1 + size.1 / 2.0,
        }
    }

    /// Its middle.
    pub(super) fn centre(&self) -> (f64, f64) {
        ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0)
    }

    fn overlaps(&self, other: &Area) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn is_within(&self, outer: &Area) -> bool {
        self.left >= outer.left
            && self.right <= outer.right
            && self.top >= outer.top
            && self.bottom <= outer.bottom
    }
}

/// Distances from a point's rim at which a position is searched for.
const DISTANCES: [f64; 7] = [5.0, 12.0, 22.0, 36.0, 54.0, 78.0, 108.0];
/// From this distance on, a label needs a line to its point.
pub(super) const LEADER_FROM: f64 = 20.0;
/// Directions that are tried at each distance: right, left, above, below, and between.
const DIRECTIONS: [(f64, f64); 12] = [
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (0.7, -0.7),
    (-0.7, -0.7),
    (0.7, 0.7),
    (-0.7, 0.7),
    (0.9, -0.4),
    (0.9, 0.4),
    (-0.9, -0.4),
    (-0.9, 0.4),
];

/// A label and the point to which it belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Label {
    /// Its point.
    pub(super) point: (f64, f64),
    /// Width and height that it takes.
    pub(super) size: (f64, f64),
}

/// Positions for labels in the order of their importance; none for a label that finds no room. `radius` is that of the
/// points. `lines` are covered only where there is no other room.
pub(super) fn place_labels(bounds: Area, radius: f64, labels: &[Label], lines: &[Area]) -> Vec<Option<Area>> {
    let mut taken: Vec<Area> =
        labels.iter().map(|label| Area::around(label.point, (radius * 2.0, radius * 2.0))).collect();
    let mut places = Vec::new();
    for label in labels {
        let candidates = || {
            let around =
                |distance: &f64| DIRECTIONS.map(|direction| beside(label, radius + distance, direction));
            DISTANCES.iter().flat_map(around)
        };
        let free = |area: &Area| area.is_within(&bounds) && !taken.iter().any(|other| area.overlaps(other));
        let clear = |area: &Area| free(area) && !lines.iter().any(|line| area.overlaps(line));
        let place = candidates().find(clear).or_else(|| candidates().find(free));
        taken.extend(place);
        places.push(place);
    }
    places
}

/// The label's position in a direction, its nearest edge or corner at `distance` from the point.
fn beside(label: &Label, distance: f64, direction: (f64, f64)) -> Area {
    let shift = |at: f64, part: f64, length: f64| {
        let half = length / 2.0;
        at + part * distance + part.signum() * if part == 0.0 { 0.0 } else { half }
    };
    let centre =
        (shift(label.point.0, direction.0, label.size.0), shift(label.point.1, direction.1, label.size.1));
    Area::around(centre, label.size)
}

/// How far a label is from its point.
pub(super) fn distance(label: &Label, place: &Area) -> f64 {
    let gap = |at: f64, low: f64, high: f64| (low - at).max(at - high).max(0.0);
    gap(label.point.0, place.left, place.right).hypot(gap(label.point.1, place.top, place.bottom))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Area = Area { left: 0.0, right: 1000.0, top: 0.0, bottom: 500.0 };

    #[test]
    fn a_lone_label_stands_at_the_right_and_one_at_the_edge_turns() {
        let label = |x: f64| Label { point: (x, 100.0), size: (120.0, 18.0) };
        let placed = place_labels(BOUNDS, 6.0, &[label(200.0), label(990.0)], &[]);
        assert_eq!(placed[0].expect("room").left, 211.0);
        assert_eq!(placed[1].expect("room").right, 979.0);
    }

    #[test]
    fn where_there_is_no_room_there_is_no_label() {
        let label = Label { point: (500.0, 250.0), size: (2000.0, 18.0) };
        assert_eq!(place_labels(BOUNDS, 6.0, &[label], &[]), [None]);
        let close = Label { point: (500.0, 250.0), size: (10.0, 10.0) };
        let placed = place_labels(BOUNDS, 6.0, &vec![close; 200], &[]);
        assert!(placed.iter().flatten().count() > 20 && placed.iter().any(Option::is_none));
    }

    #[test]
    fn lines_are_avoided_where_there_is_other_room() {
        let label = Label { point: (500.0, 250.0), size: (40.0, 18.0) };
        let right = Area { left: 505.0, right: 900.0, top: 249.0, bottom: 251.0 };
        let placed = place_labels(BOUNDS, 6.0, &[label], &[right]);
        assert!(placed[0].is_some_and(|area| area.right < 500.0), "{placed:?}");
        assert!(place_labels(BOUNDS, 6.0, &[label], &[BOUNDS])[0].is_some());
    }

    proptest! {
        #[test]
        fn no_label_covers_another_or_a_point(
            points in prop::collection::vec((0.0f64..1000.0, 0.0f64..500.0, 10.0f64..300.0), 1..40),
        ) {
            let labels: Vec<Label> =
                points.iter().map(|&(x, y, width)| Label { point: (x, y), size: (width, 18.0) }).collect();
            let placed: Vec<Area> = place_labels(BOUNDS, 6.0, &labels, &[]).into_iter().flatten().collect();
            for (at, area) in placed.iter().enumerate() {
                prop_assert!(area.is_within(&BOUNDS));
                prop_assert!(!placed[..at].iter().any(|other| area.overlaps(other)));
                prop_assert!(!labels.iter().any(|label| area.overlaps(&Area::around(label.point, (12.0, 12.0)))));
            }
        }
    }
}
