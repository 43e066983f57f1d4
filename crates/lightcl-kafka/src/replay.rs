//! Records that were taken before, taken again in the same order and cut in the same places.

use crate::outbox::TopicPartition;
use crate::records::RecordBlock;
use crate::unit_record::Step;
use lightcl_core::{Error, Positions};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What is still to be taken again, and the records that came for it.
pub struct Replay {
    steps: VecDeque<Step>,
    blocks: BTreeMap<Arc<str>, VecDeque<RecordBlock>>,
    /// Whether [`Replay::rest`] was taken.
    over: bool,
    from: Positions,
    committed: Positions,
}

/// What to do next.
pub enum Next {
    /// Take these records, silently.
    Records(RecordBlock),
    /// Close the open window.
    CloseWindow,
}

impl Replay {
    /// The replay from where the state stands to what is committed, by the steps written down and, behind them, by offset.
    pub fn new(steps: &[Step], from: &Positions, committed: &Positions) -> Self {
        let mut steps: VecDeque<Step> = steps.to_vec().into();
        for (partition, &next) in &committed.0 {
            if next > from.next(partition) {
                steps.push_back(Step { partition: partition.clone(), next, cut: false });
            }
        }
        let over = steps.is_empty();
        Replay { steps, blocks: BTreeMap::new(), over, from: from.clone(), committed: committed.clone() }
    }

    /// The share of offsets behind us, in [0, 1].
    pub fn progress(&self, positions: &Positions) -> f64 {
        let (mut all, mut done) = (0, 0);
        for (partition, &next) in &self.committed.0 {
            let from = self.from.next(partition).min(next);
            all += next - from;
            done += positions.next(partition).clamp(from, next) - from;
        }
        if all == 0 { 1.0 } else { done as f64 / all as f64 }
    }

    /// Whether there is nothing to take again, and nothing of it here.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.over
    }

    /// Records have come.
    pub fn add(&mut self, block: RecordBlock) {
        let name = TopicPartition { topic: Arc::clone(block.topic()), partition: block.partition() }.name();
        self.blocks.entry(name).or_default().push_back(block);
    }

    /// What to do next; nothing while records are still to come. Positions go on over offsets without records.
    pub fn next(&mut self, positions: &mut Positions) -> Option<Next> {
        while let Some(step) = self.steps.front() {
            if positions.next(&step.partition) >= step.next {
                let step = self.steps.pop_front()?;
                if step.cut {
                    return Some(Next::CloseWindow);
                }
                continue;
            }
            let blocks = self.blocks.get_mut(step.partition.as_str())?;
            let mut block = blocks.pop_front()?;
            let rest = block.split_off(i64::try_from(step.next).unwrap_or(i64::MAX));
            if !rest.is_empty() {
                blocks.push_front(rest);
            }
            if block.is_empty() {
                // What follows lies beyond: there is nothing up to here any more.
                positions.advance(&step.partition, step.next);
                continue;
            }
            return Some(Next::Records(block));
        }
        None
    }

    /// Records behind the replay; to be taken once it has come to its end.
    pub fn rest(&mut self) -> Vec<RecordBlock> {
        if !self.steps.is_empty() {
            return Vec::new();
        }
        self.over = true;
        std::mem::take(&mut self.blocks).into_values().flatten().collect()
    }

    /// The input ended before the replay did.
    pub fn incomplete(&self, unit: &str) -> Error {
        let (partition, next) = self.steps.front().map_or(("none", 0), |step| (step.partition.as_str(), step.next));
        Error::external(
            "the input ends before rows that were learnt from: records are gone. Start over with --fresh, or let the job \
             go on without them with source.or_else",
        )
        .with("unit", unit)
        .with("partition", partition)
        .with("learnt up to", next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::NewRecord;

    fn block(partition: i32, offsets: &[i64]) -> RecordBlock {
        let mut block = RecordBlock::new("t", partition);
        for &offset in offsets {
            block.push(NewRecord { offset, timestamp_ms: None, key: None, value: Some(b"x"), headers: &[] });
        }
        block
    }

    fn step(partition: &str, next: u64, cut: bool) -> Step {
        Step { partition: partition.to_owned(), next, cut }
    }

    fn positions(of: &[(&str, u64)]) -> Positions {
        Positions(of.iter().map(|(partition, next)| ((*partition).to_owned(), *next)).collect())
    }

    /// Goes through a replay, advancing positions as a worker does; names what was to be done.
    fn run(replay: &mut Replay, at: &mut Positions) -> Vec<String> {
        let mut done = Vec::new();
        while let Some(next) = replay.next(at) {
            match next {
                Next::Records(block) => {
                    let last = block.record(block.len() - 1).offset as u64;
                    at.advance(&format!("t-{}", block.partition()), last + 1);
                    done.push(format!("{}:{}..{last}", block.partition(), block.record(0).offset));
                }
                Next::CloseWindow => done.push("cut".to_owned()),
            }
        }
        done
    }

    #[test]
    fn partitions_are_taken_in_the_order_written_down_however_records_come() {
        let from = positions(&[("t-0", 0), ("t-1", 0)]);
        let steps = [step("t-1", 3, false), step("t-0", 2, true), step("t-1", 5, false)];
        let mut replay = Replay::new(&steps, &from, &positions(&[("t-0", 2), ("t-1", 5)]));
        let mut at = from;
        replay.add(block(0, &[0, 1, 2, 3]));
        assert!(run(&mut replay, &mut at).is_empty());
        assert_eq!(replay.progress(&at), 0.0);
        replay.add(block(1, &[0, 2, 3, 4, 9]));
        assert_eq!(run(&mut replay, &mut at), ["1:0..2", "0:0..1", "cut", "1:3..4"]);
        assert_eq!(replay.progress(&at), 1.0);
        let rest: Vec<_> = replay.rest().iter().map(|block| (block.partition(), block.len())).collect();
        assert_eq!(rest, [(0, 2), (1, 1)]);
        assert!(replay.is_done());
    }

    #[test]
    fn offsets_without_records_are_passed_over() {
        let from = positions(&[("t-0", 4)]);
        let mut replay = Replay::new(&[], &from, &positions(&[("t-0", 9)]));
        let mut at = from;
        replay.add(block(0, &[4, 5, 12]));
        assert_eq!(run(&mut replay, &mut at), ["0:4..5"]);
        assert_eq!(at.next("t-0"), 9);
        assert_eq!(replay.rest()[0].record(0).offset, 12);
    }

    #[test]
    fn there_is_nothing_to_do_where_the_state_stands_at_what_is_committed() {
        let at = positions(&[("t-0", 9)]);
        assert!(Replay::new(&[], &at, &at).is_done());
    }
}
