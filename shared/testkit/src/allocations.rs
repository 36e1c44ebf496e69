//! How often a thread allocates, and how much the program holds, in a program whose
//! `#[global_allocator]` is [`Counting`].

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count for each thread. A reallocation counts as one more.
pub struct Counting;

#[expect(unsafe_code, reason = "a global allocator is the only way to count allocations")]
// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        HELD_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Does some work and counts what this thread allocates for it.
///
/// # Panics
///
/// Where [`Counting`] is not the program's allocator: then nothing would ever be counted.
pub fn during<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.get();
    drop(black_box(Box::new(0_u8)));
    assert!(COUNT.get() > before, "the program's allocator is not the one that counts");
    let before = COUNT.get();
    let done = work();
    (done, COUNT.get() - before)
}

/// What the whole program has allocated and not given back. Zero where [`Counting`] is not its allocator.
#[must_use]
pub fn held_bytes() -> usize {
    HELD_BYTES.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    #[test]
    fn what_is_held_is_counted_until_it_is_given_back() {
        // Far more than what other tests of this program hold meanwhile.
        const SIZE: usize = 64 << 20;
        let before = held_bytes();
        let large = black_box(Vec::<u8>::with_capacity(SIZE));
        assert!(held_bytes() >= before + SIZE / 2);
        drop(large);
        assert!(held_bytes() < before + SIZE / 2);
    }

    #[test]
    fn this_threads_allocations_are_counted_and_no_others() {
        assert_eq!(during(|| black_box(Box::new(7))), (Box::new(7), 1));
        let (length, count) = during(|| {
            let mut numbers = vec![1_u8, 2];
            numbers.reserve_exact(100);
            black_box(&numbers).len()
        });
        assert_eq!((length, count), (2, 2));
        let both = Barrier::new(2);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                both.wait();
                let ((), count) = during(|| drop(black_box(vec![0_u8; 9])));
                both.wait();
                count
            });
            let ((), ours) = during(|| {
                both.wait();
                both.wait();
            });
            assert_eq!((ours, other.join().unwrap()), (0, 1));
        });
    }
}
