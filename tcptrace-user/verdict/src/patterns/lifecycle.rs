//! The life of a finding: it begins, it runs, it is over; a bounded number is kept for the summary, and the rest is
//! counted as forgotten.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::FindingId;

/// Findings kept for the summary, those that run among them.
pub const KEPT: usize = 1024;

/// A finding while it runs.
pub trait Course {
    /// The finding that is reported of it.
    type Finding: Clone;

    /// As it stands.
    fn finding(&self) -> Self::Finding;

    /// As it ends.
    fn close(self) -> Self::Finding;
}

/// Numbers for findings. Patterns that share them never give two findings the same.
#[derive(Clone, Debug, Default)]
pub struct Numbers(Arc<AtomicU64>);

impl Numbers {
    fn next(&self) -> FindingId {
        FindingId(self.0.fetch_add(1, Relaxed))
    }
}

/// All findings of one pattern, by their keys.
pub struct Lifecycle<K, R: Course> {
    numbers: Numbers,
    running: HashMap<K, (FindingId, R)>,
    over: VecDeque<(FindingId, R::Finding)>,
    /// To be reported.
    news: Vec<R::Finding>,
    begun: u64,
    forgotten: u64,
}

impl<K, R: Course> Default for Lifecycle<K, R> {
    fn default() -> Self {
        Self::numbered(&Numbers::default())
    }
}

impl<K, R: Course> Lifecycle<K, R> {
    /// None yet; they get numbers that other patterns' findings do not have.
    #[must_use]
    pub fn numbered(numbers: &Numbers) -> Self {
        Self {
            numbers: numbers.clone(),
            running: HashMap::new(),
            over: VecDeque::new(),
            news: Vec::new(),
            begun: 0,
            forgotten: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, R: Course> Lifecycle<K, R> {
    /// Begins a finding, made with its number. Where there are too many the oldest that is over makes room, or else the oldest that runs.
    pub fn begin(&mut self, key: K, course: impl FnOnce(FindingId) -> R) -> FindingId {
        if self.running.len() + self.over.len() >= KEPT {
            self.forgotten += 1;
            if self.over.pop_front().is_none() {
                let oldest = self.running.iter().min_by_key(|(_, (id, _))| *id).map(|(key, _)| *key);
                oldest.map(|key| self.running.remove(&key));
            }
        }
        let id = self.numbers.next();
        self.begun += 1;
        self.running.insert(key, (id, course(id)));
        id
    }

    /// The finding that runs under a key.
    pub fn get_mut(&mut self, key: &K) -> Option<(FindingId, &mut R)> {
        self.running.get_mut(key).map(|(id, course)| (*id, course))
    }

    /// The number of findings that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Those that run, in no order.
    pub fn running_mut(&mut self) -> impl Iterator<Item = (FindingId, &mut R)> {
        self.running.values_mut().map(|(id, course)| (*id, course))
    }

    /// Those that are over, the oldest first.
    pub fn over_mut(&mut self) -> impl DoubleEndedIterator<Item = (FindingId, &mut R::Finding)> {
        self.over.iter_mut().map(|(id, finding)| (*id, finding))
    }

    /// Reports a finding that runs.
    pub fn announce(&mut self, key: &K) {
        self.news.extend(self.running.get(key).map(|(_, course)| course.finding()));
    }

    /// Takes findings out as if they had never begun, the oldest first.
    pub fn withdraw(&mut self, mut which: impl FnMut(&R) -> bool) -> Vec<R> {
        in_order(self.running.extract_if(|_, (_, course)| which(course)))
            .into_iter()
            .map(|(_, course)| course)
            .collect()
    }

    /// Ends findings, and reports that.
    pub fn end(&mut self, mut is_over: impl FnMut(&R) -> bool) {
        for (id, course) in in_order(self.running.extract_if(|_, (_, course)| is_over(course))) {
            let finding = course.close();
            self.over.push_back((id, finding.clone()));
            self.news.push(finding);
        }
    }

    /// The findings to report since this was last called.
    pub fn news(&mut self) -> Vec<R::Finding> {
        std::mem::take(&mut self.news)
    }

    /// Every finding that is kept, as it is now, in the order in which they began.
    #[must_use]
    pub fn all(&self) -> Vec<R::Finding> {
        let over = self.over.iter().cloned();
        let mut all: Vec<_> = over.chain(self.running.values().map(|(id, it)| (*id, it.finding()))).collect();
        all.sort_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, finding)| finding).collect()
    }

    /// The number of findings that ever began.
    #[must_use]
    pub const fn begun(&self) -> u64 {
        self.begun
    }

    /// The number of findings that are not kept any more.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

fn in_order<K, R>(taken: impl Iterator<Item = (K, (FindingId, R))>) -> Vec<(FindingId, R)> {
    let mut taken: Vec<_> = taken.map(|(_, entry)| entry).collect();
    taken.sort_by_key(|(id, _)| *id);
    taken
}
