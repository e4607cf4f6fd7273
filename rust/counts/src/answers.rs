//! Counts answers to inference requests and the times to their first bytes, by worker.
//!
//! What is kept is bounded: so many series of answers and as many of times, after which everything new counts as one
//! other; and [`LATEST`] times, 1 KiB, of each worker that has a series.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;

use crate::histogram::{Histogram, Snapshot};

/// The latest times of each worker that quantiles are taken from.
pub const LATEST: usize = 128;

/// Whose answer it is.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The worker that sent it.
    pub worker: &'a str,
    /// The other one of its pair, which prefilled.
    pub prefill: Option<&'a str>,
}

/// Answers of one status by one worker or pair; no `author` and status for those without a series of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The worker that answered, and the prefill worker of its pair.
    pub author: Option<(String, Option<String>)>,
    /// The status; 0 without an author.
    pub status: u16,
    /// How many.
    pub answers: u64,
}

/// What one worker answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// Answers that it had a part in.
    pub answers: u64,
    /// Those that it sent itself, by their status from 400 on.
    pub errors: BTreeMap<u16, u64>,
}

/// Times to first byte of one worker's answers of one class; no `worker` for those without a series of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// The worker.
    pub worker: Option<String>,
    /// The first digit of the status; 0 without a worker.
    pub class: u16,
    /// The times in seconds.
    pub seconds: Snapshot,
}

/// Counts answers.
#[derive(Debug)]
pub struct Answers {
    bounds: Box<[f64]>,
    max_series: usize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    workers: HashMap<Box<str>, Worker>,
    /// How many series there are of answers, and of times.
    lengths: (usize, usize),
    other_answers: u64,
    other_times: Option<Histogram>,
}

#[derive(Debug, Default)]
struct Worker {
    alone: Statuses,
    beside: HashMap<Box<str>, Statuses>,
    times: Vec<(u16, Histogram)>,
    latest: Ring,
}

/// Answers by status: a worker has few.
type Statuses = Vec<(u16, u64)>;

#[derive(Debug, Default)]
struct Ring {
    seconds: Vec<f64>,
    next: usize,
}

impl Answers {
    /// Nothing counted. `bounds` are those of times in seconds, `max_series` the series of either kind.
    pub fn new(bounds: &[f64], max_series: usize) -> Self {
        Self {
            bounds: bounds.into(),
            max_series,
            table: Mutex::new(Table {
                workers: HashMap::new(),
                lengths: (0, 0),
                other_answers: 0,
                other_times: None,
            }),
        }
    }

    /// Counts the head of an answer.
    pub fn answered(&self, author: Author<'_>, status: u16) {
        let table = &mut *self.table.lock();
        if let Some(count) = table.count(author, status) {
            *count += 1;
        } else if table.lengths.0 < self.max_series {
            table.lengths.0 += 1;
            table.statuses(author).push((status, 1));
        } else {
            table.other_answers += 1;
        }
    }

    /// Counts the first byte of an answer of this status that is handed on.
    pub fn first_byte(&self, worker: &str, status: u16, seconds: f64) {
        let class = status / 100;
        let table = &mut *self.table.lock();
        if !table.observe(worker, class, seconds) {
            let histogram = if table.lengths.1 < self.max_series {
                table.lengths.1 += 1;
                let times = &mut table.worker(worker).times;
                times.push((class, Histogram::new(&self.bounds)));
                times.last().map(|(_, histogram)| histogram)
            } else {
                let other = &mut table.other_times;
                Some(&*other.get_or_insert_with(|| Histogram::new(&self.bounds)))
            };
            if let Some(histogram) = histogram {
                histogram.observe(seconds);
            }
        }
        if status < 400
            && let Some(worker) = table.workers.get_mut(worker)
        {
            worker.latest.push(seconds);
        }
    }

    /// Takes another time into a worker's latest. One of a worker that nothing else is known of is left out when there
    /// are as many workers as may be series.
    pub fn latest(&self, worker: &str, seconds: f64) {
        let table = &mut *self.table.lock();
        if table.workers.contains_key(worker) || table.workers.len() < self.max_series {
            table.worker(worker).latest.push(seconds);
        }
    }

    /// Shares of a worker's latest times, by nearest rank; None where nothing is known.
    pub fn quantiles(&self, worker: &str, shares: &[f64]) -> Option<Vec<f64>> {
        let mut seconds = {
            let table = self.table.lock();
            table.workers.get(worker)?.latest.seconds.clone()
        };
        let last = seconds.len().checked_sub(1)?;
        seconds.sort_unstable_by(f64::total_cmp);
        let rank = |share: &f64| ((share * seconds.len() as f64) as usize).min(last);
        Some(shares.iter().map(|share| seconds[rank(share)]).collect())
    }

    /// The worker left: its latest times say nothing any more. One that has nothing else makes room for others.
    pub fn forget(&self, worker: &str) {
        let table = &mut *self.table.lock();
        if let Some(known) = table.workers.get_mut(worker) {
            known.latest = Ring::default();
            if known.alone.is_empty() && known.beside.is_empty() && known.times.is_empty() {
                table.workers.remove(worker);
            }
        }
    }

    /// Every worker that is named.
    pub fn workers(&self) -> HashSet<String> {
        let table = self.table.lock();
        let named = table.workers.iter().flat_map(|(url, worker)| {
            let partners = worker.beside.keys();
            partners.chain(std::iter::once(url))
        });
        named.map(ToString::to_string).collect()
    }

    /// Drops all series that name one of these.
    pub fn remove(&self, workers: &HashSet<String>) {
        let table = &mut *self.table.lock();
        table.workers.retain(|url, _| !workers.contains(&**url));
        let (mut answers, mut times) = (0, 0);
        for worker in table.workers.values_mut() {
            worker.beside.retain(|url, _| !workers.contains(&**url));
            let beside: usize = worker.beside.values().map(Vec::len).sum();
            answers += worker.alone.len() + beside;
            times += worker.times.len();
        }
        table.lengths = (answers, times);
    }

    /// How many answers there were, and how many of them with a status from 500 on; others count as sound.
    pub fn totals(&self) -> (u64, u64) {
        let table = self.table.lock();
        let (mut total, mut failed) = (table.other_answers, 0);
        for (_, _, statuses) in table.series() {
            for (status, answers) in statuses {
                total += answers;
                failed += if *status >= 500 { *answers } else { 0 };
            }
        }
        (total, failed)
    }

    /// What each worker answered; nothing of those without a series of their own.
    pub fn shares(&self) -> HashMap<String, Share> {
        let table = self.table.lock();
        let mut shares = HashMap::<&str, Share>::new();
        for (worker, prefill, statuses) in table.series() {
            let answers: u64 = statuses.iter().map(|(_, answers)| answers).sum();
            for each in prefill.into_iter().chain([worker]).filter(|_| answers > 0) {
                shares.entry(each).or_default().answers += answers;
            }
            for (status, answers) in statuses.iter().filter(|(status, _)| *status >= 400) {
                let errors = &mut shares.entry(worker).or_default().errors;
                *errors.entry(*status).or_default() += answers;
            }
        }
        let named = shares.into_iter();
        named.map(|(url, share)| (url.to_owned(), share)).collect()
    }

    /// The answers so far.
    pub fn rows(&self) -> Vec<Row> {
        let table = self.table.lock();
        let mut rows = Vec::with_capacity(table.lengths.0 + 1);
        for (url, prefill, statuses) in table.series() {
            rows.extend(statuses.iter().map(|(status, answers)| Row {
                author: Some((url.to_owned(), prefill.map(str::to_owned))),
                status: *status,
                answers: *answers,
            }));
        }
        if table.other_answers > 0 {
            rows.push(Row {
                author: None,
                status: 0,
                answers: table.other_answers,
            });
        }
        rows
    }

    /// The times so far.
    pub fn times(&self) -> Vec<Times> {
        let table = self.table.lock();
        let mut rows = Vec::with_capacity(table.lengths.1 + 1);
        for (url, worker) in &table.workers {
            rows.extend(worker.times.iter().map(|(class, histogram)| Times {
                worker: Some(url.to_string()),
                class: *class,
                seconds: histogram.snapshot(),
            }));
        }
        rows.extend(table.other_times.as_ref().map(|histogram| Times {
            worker: None,
            class: 0,
            seconds: histogram.snapshot(),
        }));
        rows
    }
}

impl Table {
    /// Each worker, alone and beside each of its partners, with its answers by status.
    fn series(&self) -> impl Iterator<Item = (&str, Option<&str>, &Statuses)> {
        self.workers.iter().flat_map(|(url, worker)| {
            let beside = worker.beside.iter();
            let beside = beside.map(|(prefill, statuses)| (&**url, Some(&**prefill), statuses));
            beside.chain([(&**url, None, &worker.alone)])
        })
    }

    fn count(&mut self, author: Author<'_>, status: u16) -> Option<&mut u64> {
        let worker = self.workers.get_mut(author.worker)?;
        let statuses = match author.prefill {
            None => &mut worker.alone,
            Some(prefill) => worker.beside.get_mut(prefill)?,
        };
        let found = statuses.iter_mut().find(|(known, _)| *known == status);
        found.map(|(_, count)| count)
    }

    fn statuses(&mut self, author: Author<'_>) -> &mut Statuses {
        let worker = self.worker(author.worker);
        match author.prefill {
            None => &mut worker.alone,
            Some(prefill) => worker.beside.entry(prefill.into()).or_default(),
        }
    }

    fn observe(&self, worker: &str, class: u16, seconds: f64) -> bool {
        let times = self.workers.get(worker).map(|worker| &worker.times);
        let mut known = times.into_iter().flatten();
        let found = known.find(|(known, _)| *known == class);
        if let Some((_, histogram)) = found {
            histogram.observe(seconds);
        }
        found.is_some()
    }

    fn worker(&mut self, url: &str) -> &mut Worker {
        self.workers.entry(url.into()).or_default()
    }
}

impl Ring {
    fn push(&mut self, seconds: f64) {
        if self.seconds.len() < LATEST {
            self.seconds.push(seconds);
        } else if let Some(place) = self.seconds.get_mut(self.next) {
            *place = seconds;
            self.next = (self.next + 1) % LATEST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Author<'_> = Author {
        worker: "a",
        prefill: None,
    };
    const PAIR: Author<'_> = Author {
        worker: "b",
        prefill: Some("a"),
    };

    fn row(worker: &str, prefill: Option<&str>, status: u16, answers: u64) -> Row {
        Row {
            author: Some((worker.to_owned(), prefill.map(str::to_owned))),
            status,
            answers,
        }
    }

    fn counted(answers: &Answers) -> Vec<Row> {
        let mut rows = answers.rows();
        rows.sort();
        rows
    }

    #[test]
    fn answers_are_counted_by_author_and_status() {
        let answers = Answers::new(&[1.0], 10);
        for (author, status) in [(ALONE, 200), (PAIR, 200), (ALONE, 500), (ALONE, 200)] {
            answers.answered(author, status);
        }
        let expected = [
            row("a", None, 200, 2),
            row("a", None, 500, 1),
            row("b", Some("a"), 200, 1),
        ];
        assert_eq!(counted(&answers), expected);
    }

    #[test]
    fn what_each_worker_and_all_of_them_answered() {
        let answers = Answers::new(&[1.0], 4);
        for (author, status) in [(ALONE, 200), (PAIR, 200), (PAIR, 400), (PAIR, 503)] {
            answers.answered(author, status);
        }
        answers.latest("c", 1.0);
        let errors = [(400, 1), (503, 1)].into();
        let expected = [("a", 4, BTreeMap::new()), ("b", 3, errors)];
        let expected = expected
            .map(|(worker, answers, errors)| (worker.to_owned(), Share { answers, errors }));
        assert_eq!(answers.shares(), expected.into());
        assert_eq!(answers.totals(), (4, 1));
        // The fifth series has no room: it counts among all, and nobody knows as whose.
        answers.answered(ALONE, 500);
        assert_eq!(answers.totals(), (5, 1));
        assert_eq!(answers.shares()["a"].answers, 4);
    }

    #[test]
    fn who_left_makes_room() {
        let answers = Answers::new(&[1.0], 1);
        answers.latest("a", 1.0);
        answers.latest("b", 1.0);
        assert_eq!(answers.workers(), ["a".to_owned()].into());
        answers.forget("a");
        answers.latest("b", 1.0);
        assert_eq!(answers.workers(), ["b".to_owned()].into());
        answers.answered(PAIR, 200);
        answers.forget("b");
        assert_eq!(answers.totals(), (1, 0));
    }

    #[test]
    fn what_has_no_series_of_its_own_counts_as_other() {
        let answers = Answers::new(&[1.0], 2);
        for number in 0..5_u16 {
            let name = number.to_string();
            let author = Author {
                worker: &name,
                prefill: None,
            };
            answers.answered(author, 200);
            answers.first_byte(&name, 200, 0.5);
        }
        let rows = answers.rows();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2].author, None);
        assert_eq!(rows[2].answers, 3);
        let times = answers.times();
        assert_eq!(times.len(), 3);
        assert_eq!(times[2].seconds.buckets, [3, 0]);
        // Room for others comes with those that are dropped.
        answers.remove(&["0".to_owned()].into());
        answers.answered(PAIR, 200);
        assert_eq!(answers.rows().len(), 3);
    }

    #[test]
    fn who_is_dropped_leaves_no_pair_behind() {
        let answers = Answers::new(&[1.0], 10);
        answers.answered(ALONE, 200);
        answers.answered(PAIR, 200);
        let both = ["a".to_owned(), "b".to_owned()];
        assert_eq!(answers.workers(), both.into());
        answers.remove(&["a".to_owned()].into());
        assert_eq!(counted(&answers), []);
    }

    #[test]
    fn quantiles_are_of_the_latest_good_answers() {
        let answers = Answers::new(&[1.0], 10);
        assert_eq!(answers.quantiles("a", &[0.5]), None);
        answers.first_byte("a", 500, 9.0);
        assert_eq!(answers.quantiles("a", &[0.5]), None);
        for number in 0..2 * LATEST {
            answers.first_byte("a", 200, number as f64);
        }
        let newest = LATEST as f64;
        let expected = [newest, newest + newest / 2.0, newest * 2.0 - 1.0];
        assert_eq!(
            answers.quantiles("a", &[0.0, 0.5, 1.0]),
            Some(expected.into())
        );
        answers.forget("a");
        assert_eq!(answers.quantiles("a", &[0.5]), None);
        answers.latest("c", 3.0);
        assert_eq!(answers.quantiles("c", &[0.95]), Some(vec![3.0]));
    }
}
