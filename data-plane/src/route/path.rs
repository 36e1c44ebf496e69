//! The paths of one API's routes, as a trie of segments.
//!
//! A table of many thousand APIs lies in memory that the last look-ups have not touched, so what
//! counts is how many places a descent reads: nodes, edges and texts lie in one block each.

use std::hash::BuildHasher;
use std::ops::{ControlFlow, Range};

use tollgate_model::path::{PathMatch, Segment};

/// Stands for no node.
const NONE: u32 = u32::MAX;

/// Which routes match a path below the base path, by their places in the API's list.
#[derive(Debug)]
pub(super) struct Trie {
    root: Node,
    /// What is below the root; a node stands behind its parent, and the first has index 1.
    nodes: Box<[Node]>,
    literals: Literals,
    expressions: Span,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    has_literals: bool,
    parameter: u32,
    /// Exact paths and templates that end here.
    ends: Span,
    /// Prefixes that end here.
    prefixes: Span,
    /// The nearest node above that has prefixes.
    outer: u32,
}

const EMPTY_NODE: Node = Node {
    has_literals: false,
    parameter: NONE,
    ends: Span { start: 0, end: 0 },
    prefixes: Span { start: 0, end: 0 },
    outer: NONE,
};

/// A range of places, in half the space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn extend(&mut self, place: usize) {
        let place = narrow(place);
        if self.is_empty() {
            self.start = place;
        }
        self.end = place + 1;
    }

    fn places(self) -> Range<usize> {
        widen(self.start)..widen(self.end)
    }
}

/// The edges of all nodes to their children by literal segments: one open hash table.
#[derive(Debug, Default)]
struct Literals {
    hasher: foldhash::fast::RandomState,
    /// Each at its hash or behind it. A power of two, at most half full.
    slots: Box<[Edge]>,
    texts: Box<str>,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    parent: u32,
    /// [`NONE`] in an empty slot.
    child: u32,
    text: Span,
}

const EMPTY_EDGE: Edge = Edge { parent: NONE, child: NONE, text: Span { start: 0, end: 0 } };

/// What a search carries down the trie and learns there.
struct Descent<'v, V> {
    /// The last node to which only literal segments lead; prefixes hold at and above it.
    deepest: u32,
    visit: &'v mut V,
}

impl Trie {
    /// Places the paths of an API, sorted so that those of one node, and all expressions, stand
    /// side by side.
    pub(super) fn build<'p>(paths: impl Iterator<Item = &'p PathMatch>) -> Self {
        let mut draft = Draft::default();
        for (place, path) in paths.enumerate() {
            draft.add(place, path);
        }
        draft.finish()
    }

    /// Visits, in order of precedence, the places of the routes that match the path; for
    /// expressions, with `true`, of those that may.
    ///
    /// `rest` begins with a slash.
    #[inline]
    pub(super) fn visit<B>(
        &self,
        rest: &str,
        visit: &mut impl FnMut(Range<usize>, bool) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut descent = Descent { deepest: 0, visit };
        if self.root.has_literals || self.root.parameter != NONE {
            self.descend(0, rest.get(1..), true, &mut descent)?;
        }
        let Descent { deepest, visit } = descent;
        if !self.expressions.is_empty() {
            visit(self.expressions.places(), true)?;
        }
        let mut next = deepest;
        while let Some(node) = self.node(next) {
            visit(node.prefixes.places(), false)?;
            next = node.outer;
        }
        ControlFlow::Continue(())
    }

    /// Visits the ends below a node, literal children first. As deep as the trie at most, and to
    /// no node twice.
    fn descend<B, V: FnMut(Range<usize>, bool) -> ControlFlow<B>>(
        &self,
        index: u32,
        rest: Option<&str>,
        is_literal: bool,
        descent: &mut Descent<'_, V>,
    ) -> ControlFlow<B> {
        let Some(node) = self.node(index) else { return ControlFlow::Continue(()) };
        if is_literal {
            descent.deepest = index;
        }
        let Some(rest) = rest else { return (descent.visit)(node.ends.places(), false) };
        let (segment, below) = match memchr::memchr(b'/', rest.as_bytes()) {
            Some(slash) => (rest.get(..slash).unwrap_or_default(), rest.get(slash + 1..)),
            None => (rest, None),
        };
        if node.has_literals
            && let Some(child) = self.literals.child(index, segment)
        {
            self.descend(child, below, is_literal, descent)?;
        }
        if node.parameter == NONE || segment.is_empty() {
            return ControlFlow::Continue(());
        }
        self.descend(node.parameter, below, false, descent)
    }

    #[inline]
    fn node(&self, index: u32) -> Option<&Node> {
        match index.checked_sub(1) {
            None => Some(&self.root),
            Some(below) => self.nodes.get(widen(below)),
        }
    }
}

impl Literals {
    #[inline]
    fn child(&self, parent: u32, segment: &str) -> Option<u32> {
        let hash = self.hash(parent, segment);
        for edge in self.probe(hash).take_while(|edge| edge.child != NONE) {
            if edge.parent == parent && self.texts.get(edge.text.places()) == Some(segment) {
                return Some(edge.child);
            }
        }
        None
    }

    #[inline]
    fn hash(&self, parent: u32, segment: &str) -> usize {
        let hash = self.hasher.hash_one((parent, segment));
        usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// The slots from that of a hash on; each of the table comes once.
    #[inline]
    fn probe(&self, hash: usize) -> impl Iterator<Item = &Edge> {
        let start = hash & self.slots.len().wrapping_sub(1);
        let (before, from) = self.slots.split_at_checked(start).unwrap_or((&[], &[]));
        from.iter().chain(before)
    }

    fn build(edges: &[Edge], texts: String) -> Self {
        let size = if edges.is_empty() { 0 } else { (edges.len() * 2).next_power_of_two() };
        let slots = vec![EMPTY_EDGE; size].into_boxed_slice();
        let mut literals = Self { slots, texts: texts.into(), ..Self::default() };
        for edge in edges {
            let text = literals.texts.get(edge.text.places()).unwrap_or_default();
            let hash = literals.hash(edge.parent, text);
            let taken = literals.probe(hash).take_while(|edge| edge.child != NONE).count();
            if let Some(slot) = literals.slots.get_mut((hash + taken) & (size - 1)) {
                *slot = *edge;
            }
        }
        literals
    }
}

/// A trie that is being built.
struct Draft {
    nodes: Vec<Node>,
    /// The child of a node for a literal segment.
    children: std::collections::HashMap<(u32, Box<str>), u32>,
    edges: Vec<Edge>,
    texts: String,
    expressions: Span,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            nodes: vec![EMPTY_NODE],
            children: std::collections::HashMap::new(),
            edges: Vec::new(),
            texts: String::new(),
            expressions: Span::default(),
        }
    }
}

impl Draft {
    fn add(&mut self, place: usize, path: &PathMatch) {
        let node = match path {
            PathMatch::Regex(_) => return self.expressions.extend(place),
            PathMatch::Exact(text) | PathMatch::Prefix(text) => {
                text.split('/').skip(1).fold(0, |node, text| self.literal(node, text))
            }
            PathMatch::Template(segments) => {
                segments.iter().fold(0, |node, segment| match segment {
                    Segment::Literal(text) => self.literal(node, text),
                    Segment::Parameter(_) => self.parameter(node),
                })
            }
        };
        if let Some(node) = self.nodes.get_mut(widen(node)) {
            let is_prefix = matches!(path, PathMatch::Prefix(_));
            if is_prefix { &mut node.prefixes } else { &mut node.ends }.extend(place);
        }
    }

    /// The child of a node for a literal segment, made where it is missing.
    fn literal(&mut self, parent: u32, text: &str) -> u32 {
        let new = narrow(self.nodes.len());
        let child = *self.children.entry((parent, Box::from(text))).or_insert(new);
        if child == new {
            self.nodes.push(EMPTY_NODE);
            let start = narrow(self.texts.len());
            self.texts.push_str(text);
            let text = Span { start, end: narrow(self.texts.len()) };
            self.edges.push(Edge { parent, child, text });
            if let Some(node) = self.nodes.get_mut(widen(parent)) {
                node.has_literals = true;
            }
        }
        child
    }

    /// The child of a node for a parameter, made where it is missing.
    fn parameter(&mut self, parent: u32) -> u32 {
        let new = narrow(self.nodes.len());
        match self.nodes.get_mut(widen(parent)) {
            Some(node) if node.parameter == NONE => node.parameter = new,
            Some(node) => return node.parameter,
            None => return NONE,
        }
        self.nodes.push(EMPTY_NODE);
        new
    }

    fn finish(mut self) -> Trie {
        // Edges are in order of their children, and parents stand before their children.
        for edge in &self.edges {
            let Some(parent) = self.nodes.get(widen(edge.parent)) else { continue };
            let outer = if parent.prefixes.is_empty() { parent.outer } else { edge.parent };
            if let Some(child) = self.nodes.get_mut(widen(edge.child)) {
                child.outer = outer;
            }
        }
        let nodes = self.nodes.split_off(1);
        Trie {
            root: self.nodes.pop().unwrap_or(EMPTY_NODE),
            nodes: nodes.into_boxed_slice(),
            literals: Literals::build(&self.edges, self.texts),
            expressions: self.expressions,
        }
    }
}

/// An index; a configuration that a node can hold has fewer.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

#[inline]
fn widen(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
