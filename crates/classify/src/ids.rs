//! Numbers for classes, stacks and L4 classes: small, and not given again while a packet may
//! still meet the old meaning.

/// Gives numbers from `first` to `last`. A freed number rests in quarantine until it is released.
#[derive(Debug)]
pub struct Ids {
    next: u32,
    last: u32,
    free: Vec<u32>,
    quarantine: Vec<u32>,
}

impl Ids {
    /// Numbers from `first` to `last`, both included.
    pub fn new(first: u32, last: u32) -> Self {
        Self { next: first, last, free: Vec::new(), quarantine: Vec::new() }
    }

    /// A number that nobody holds, or `None` when all are held.
    pub fn take(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop() {
            return Some(id);
        }
        (self.next <= self.last).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// Gives a number back, into quarantine.
    pub fn put(&mut self, id: u32) {
        self.quarantine.push(id);
    }

    /// What is in quarantine now; it stays there until it is [released](Self::release).
    pub fn drain_quarantine(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.quarantine)
    }

    /// The shrink that freed these is done: they may be given again.
    pub fn release(&mut self, ids: Vec<u32>) {
        self.free.extend(ids);
    }
}
