//! The paths of a document, found by a request's.

use std::collections::BTreeMap;

use smallvec::SmallVec;

/// Values of a path's parameters, in the order of the path, as they stand there.
pub(crate) type Captured<'p> = SmallVec<[&'p str; 4]>;

/// Paths as a tree of their segments. What is written out goes before what is a parameter.
pub(crate) struct Paths {
    nodes: Vec<PathNode>,
}

#[derive(Default)]
struct PathNode {
    literals: BTreeMap<Box<str>, usize>,
    /// Segments that are a parameter with text around it.
    mixed: Vec<(Box<str>, Box<str>, usize)>,
    parameter: Option<usize>,
    item: Option<u32>,
}

/// One piece of a path between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(Box<str>),
    /// The text before it, its name, the text behind it.
    Parameter(Box<str>, Box<str>, Box<str>),
}

impl Segment {
    /// Parses a segment; none where it has two parameters, or a brace without its partner.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Some((before, rest)) = text.split_once('{') else {
            return (!text.contains('}')).then(|| Self::Literal(text.into()));
        };
        let (name, behind) = rest.split_once('}')?;
        let is_one = !name.is_empty() && ![before, name, behind].concat().contains(['{', '}']);
        is_one.then(|| Self::Parameter(before.into(), name.into(), behind.into()))
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self { nodes: vec![PathNode::default()] }
    }
}

impl Paths {
    /// Adds a path; false where another one is the same but for names of parameters.
    pub(crate) fn insert(&mut self, segments: &[Segment], item: u32) -> bool {
        let mut place = 0;
        for segment in segments {
            place = self.child(place, segment);
        }
        match self.nodes.get_mut(place) {
            Some(PathNode { item: free @ None, .. }) => {
                *free = Some(item);
                true
            }
            _ => false,
        }
    }

    fn child(&mut self, place: usize, segment: &Segment) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(place) else { return place };
        let child = match segment {
            Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
            Segment::Parameter(before, _, behind) if before.is_empty() && behind.is_empty() => {
                *node.parameter.get_or_insert(next)
            }
            Segment::Parameter(before, _, behind) => {
                let known = node.mixed.iter().find(|(b, e, _)| b == before && e == behind);
                known.map(|(_, _, child)| *child).unwrap_or_else(|| {
                    node.mixed.push((before.clone(), behind.clone(), next));
                    // The one with more text is the more particular one.
                    node.mixed.sort_by_key(|(b, e, _)| std::cmp::Reverse(b.len() + e.len()));
                    next
                })
            }
        };
        if child == next {
            self.nodes.push(PathNode::default());
        }
        child
    }

    /// Finds the path that a request's is, and the values of its parameters.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Option<(u32, Captured<'p>)> {
        let mut captured = Captured::new();
        let item = self.descend(0, path.strip_prefix('/'), &mut captured)?;
        Some((item, captured))
    }

    /// Every node is tried once at most, for there is one way to each: the work is bounded by the document.
    fn descend<'p>(
        &self,
        place: usize,
        rest: Option<&'p str>,
        captured: &mut Captured<'p>,
    ) -> Option<u32> {
        let node = self.nodes.get(place)?;
        let Some(rest) = rest else { return node.item };
        let (segment, rest) =
            rest.split_once('/').map_or((rest, None), |(segment, rest)| (segment, Some(rest)));
        if let Some(child) = node.literals.get(segment)
            && let Some(item) = self.descend(*child, rest, captured)
        {
            return Some(item);
        }
        let mixed = node.mixed.iter().filter_map(|(before, behind, child)| {
            let value = segment.strip_prefix(&**before)?.strip_suffix(&**behind)?;
            Some((value, *child))
        });
        for (value, child) in mixed.chain(node.parameter.map(|child| (segment, child))) {
            if value.is_empty() {
                continue;
            }
            captured.push(value);
            if let Some(item) = self.descend(child, rest, captured) {
                return Some(item);
            }
            captured.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(templates: &[&str]) -> Paths {
        let mut paths = Paths::default();
        for (item, template) in templates.iter().enumerate() {
            let segments: Option<Vec<Segment>> =
                template.split('/').skip(1).map(Segment::parse).collect();
            assert!(paths.insert(&segments.unwrap(), u32::try_from(item).unwrap()), "{template}");
        }
        paths
    }

    #[test]
    fn what_is_written_out_goes_before_parameters_and_there_is_a_way_back() {
        let paths = paths(&[
            "/",
            "/items",
            "/items/{id}",
            "/items/new",
            "/items/{id}/parts/{part}",
            "/items/new/parts",
            "/items/{id}.json",
            "/items/v{version}.json",
            "/{any}/x",
        ]);
        for (path, item, values) in [
            ("/", 0, &[][..]),
            ("/items", 1, &[]),
            ("/items/7", 2, &["7"]),
            ("/items/new", 3, &[]),
            ("/items/new/parts", 5, &[]),
            ("/items/new/parts/2", 4, &["new", "2"]),
            ("/items/7.json", 6, &["7"]),
            ("/items/v2.json", 7, &["2"]),
            ("/items/.json", 2, &[".json"]),
            ("/items/x", 2, &["x"]),
            ("/other/x", 8, &["other"]),
        ] {
            let (found, captured) = paths.find(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((found, captured.as_slice()), (item, values), "{path}");
        }
        for path in ["", "/items/", "/items/7/", "/items/7/parts", "/other", "//x"] {
            assert!(paths.find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn two_paths_of_one_shape_and_odd_braces_are_noticed() {
        let mut known = paths(&["/items/{id}"]);
        let other = [Segment::parse("items").unwrap(), Segment::parse("{name}").unwrap()];
        assert!(!known.insert(&other, 7));
        for text in ["{a}{b}", "{a", "a}", "{}", "{a{b}}", "x{a}-{b}"] {
            assert_eq!(Segment::parse(text), None, "{text}");
        }
    }
}
