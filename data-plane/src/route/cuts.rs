//! Prefixes of a path by whole segments, the longest first.

use rpds::RedBlackTreeMapSync;

/// The last bit stands for its depth and every greater one.
const LAST: usize = 63;

/// How deep the keys of a map are, so that a search asks only at depths where a key can be.
#[derive(Clone, Debug, Default)]
pub(super) struct Depths {
    counts: RedBlackTreeMapSync<usize, usize>,
    deepest: usize,
    mask: u64,
}

impl Depths {
    /// Counts a key of this depth.
    pub(super) fn add(&mut self, depth: usize) {
        let count = self.counts.get(&depth).copied().unwrap_or(0);
        self.counts.insert_mut(depth, count + 1);
        self.mask |= bit(depth);
        self.deepest = self.deepest.max(depth);
    }

    /// Takes back what [`Self::add`] counted.
    pub(super) fn remove(&mut self, depth: usize) {
        match self.counts.get(&depth).copied() {
            Some(count) if count > 1 => self.counts.insert_mut(depth, count - 1),
            _ => {
                self.counts.remove_mut(&depth);
                self.mask = self.counts.keys().fold(0, |mask, depth| mask | bit(*depth));
                self.deepest = self.counts.last().map_or(0, |(depth, _)| *depth);
            }
        }
    }

    /// Whether a key of this depth may be there.
    #[inline]
    pub(super) fn has(&self, depth: usize) -> bool {
        self.mask & bit(depth) != 0
    }

    /// The prefixes of `path` that may be keys, the longest first. `path` is empty or begins with
    /// a slash.
    #[inline]
    pub(super) fn cuts<'p>(&self, path: &'p str) -> Cuts<'p> {
        let mut depth = 0;
        for slash in memchr::memchr_iter(b'/', path.as_bytes()) {
            // The deepest key ends before the slash that begins one segment more.
            if depth == self.deepest {
                return Cuts { next: path.get(..slash), depth, mask: self.mask };
            }
            depth += 1;
        }
        Cuts { next: Some(path), depth, mask: self.mask }
    }
}

/// How many slashes a path has.
pub(super) fn depth(path: &str) -> usize {
    memchr::memchr_iter(b'/', path.as_bytes()).count()
}

#[inline]
fn bit(depth: usize) -> u64 {
    1 << depth.min(LAST)
}

/// See [`Depths::cuts`].
#[derive(Clone, Debug)]
pub(super) struct Cuts<'p> {
    next: Option<&'p str>,
    depth: usize,
    mask: u64,
}

impl<'p> Iterator for Cuts<'p> {
    type Item = &'p str;

    #[inline]
    fn next(&mut self) -> Option<&'p str> {
        loop {
            let cut = self.next?;
            let is_wanted = self.mask & bit(self.depth) != 0;
            self.next = memchr::memrchr(b'/', cut.as_bytes()).and_then(|slash| cut.get(..slash));
            self.depth = self.depth.saturating_sub(1);
            if is_wanted {
                return Some(cut);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_come_longest_first_and_only_at_depths_in_use() {
        let mut depths = Depths::default();
        let cuts = |depths: &Depths, path| depths.cuts(path).collect::<Vec<_>>().join(" ");
        assert_eq!(cuts(&depths, "/a/b"), "");
        depths.add(1);
        depths.add(1);
        depths.add(3);
        assert_eq!(cuts(&depths, "/a/b/c/d"), "/a/b/c /a");
        assert_eq!(cuts(&depths, "/a"), "/a");
        assert_eq!(cuts(&depths, "/"), "/");
        depths.remove(1);
        depths.remove(3);
        assert_eq!(cuts(&depths, "/a/b/c/d"), "/a");
        depths.remove(1);
        depths.add(0);
        assert_eq!(depths.cuts("/a/b").collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn depths_beyond_the_mask_are_found_too() {
        let mut depths = Depths::default();
        let path = "/a".repeat(100);
        depths.add(depth(&path));
        depths.add(70);
        assert!(depths.cuts(&path).any(|cut| cut == path));
        assert!(depths.cuts(&path).any(|cut| cut.len() == 140));
        depths.remove(100);
        assert!(!depths.cuts(&path).any(|cut| cut == path));
    }
}
