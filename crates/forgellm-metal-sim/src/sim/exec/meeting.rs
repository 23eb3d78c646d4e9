//! What happens when every thread waits: who goes on, and when nobody can.

use super::worker::Worker;
use super::{Divergence, Position, Stop, same_place, source_order};
use crate::sim::abi::LANES;

/// All lanes of a simdgroup wait or have ended. Lets some go on; `false` if they must wait for the threadgroup.
pub(super) fn of_simdgroup(worker: &mut Worker, index: usize) -> Result<bool, Stop> {
    let state = &worker.simdgroups[index];
    if state.live == 0 {
        same_matrix_operations(worker, index, state.exists)?;
        return Ok(false);
    }
    if state.at_threadgroup_barrier == state.live {
        return Ok(false);
    }
    if state.at_exchange != 0 {
        let lanes = if state.uniform && state.at_exchange == state.live {
            state.live
        } else {
            furthest_behind(worker, index)
        };
        same_matrix_operations(worker, index, lanes)?;
        worker.simdgroups[index].release_exchange(lanes);
        return Ok(true);
    }
    let lanes = index * LANES..worker.lanes.len().min((index + 1) * LANES);
    meet_at_one_place(worker, lanes, "simdgroup_barrier", |worker, lane| {
        worker.simdgroups[lane / LANES].at_simdgroup_barrier
    })?;
    same_matrix_operations(worker, index, worker.simdgroups[index].exists)?;
    if let Some(watch) = worker.watch {
        // SAFETY: the watch outlives the dispatch.
        unsafe { (*watch).barrier(Some(index as u32), worker.lanes[index * LANES].flags) };
    }
    let state = &mut worker.simdgroups[index];
    state.at_simdgroup_barrier = 0;
    state.runnable = state.exists;
    Ok(true)
}

/// All threads of a threadgroup wait for it or have ended. Lets them go on; `false` if all have ended.
pub(super) fn of_threadgroup(worker: &mut Worker) -> Result<bool, Stop> {
    if worker.simdgroups.iter().all(|state| state.live == 0) {
        return Ok(false);
    }
    let lanes = 0..worker.lanes.len();
    let waiting = |worker: &Worker, lane: usize| worker.simdgroups[lane / LANES].at_threadgroup_barrier;
    let first = worker.simdgroups[0].pc;
    let together = worker
        .simdgroups
        .iter()
        .all(|state| state.at_threadgroup_barrier == state.exists && state.uniform && state.pc == first);
    if !together {
        meet_at_one_place(worker, lanes, "threadgroup_barrier", waiting)?;
    }
    for index in 0..worker.simdgroups.len() {
        same_matrix_operations(worker, index, worker.simdgroups[index].exists)?;
    }
    if let Some(watch) = worker.watch {
        // SAFETY: the watch outlives the dispatch.
        unsafe { (*watch).barrier(None, worker.lanes[0].flags) };
    }
    for state in &mut worker.simdgroups {
        state.at_threadgroup_barrier = 0;
        state.runnable = state.exists;
    }
    Ok(true)
}

/// The lanes of a divergent simdgroup that wait for an exchange at the earliest place of the source. What they publish
/// is brought together in the current area: they may have arrived in different rounds.
fn furthest_behind(worker: &mut Worker, index: usize) -> u32 {
    // SAFETY: the module outlives the dispatch.
    let module = unsafe { &*worker.module };
    let at_exchange = worker.simdgroups[index].at_exchange;
    let lanes = &worker.lanes[index * LANES..];
    let waiting = || (0..LANES).filter(|lane| at_exchange & 1 << lane != 0);
    let first = waiting().map(|lane| lanes[lane].pc).min_by(|&a, &b| {
        if a == b {
            return std::cmp::Ordering::Equal;
        }
        source_order(&module.place(a), &module.place(b)).then(a.cmp(&b))
    });
    let first = first.unwrap_or_default();
    let mut chosen = 0;
    for lane in waiting().filter(|&lane| same_place(module, lanes[lane].pc, first)) {
        chosen |= 1 << lane;
        let (value, size) = lanes[lane].published;
        let state = &mut worker.simdgroups[index];
        let slot = &mut state.areas[(state.round % 2) as usize][lane];
        // SAFETY: the lane waits in its exchange, so `value` is alive; `size` was checked there.
        unsafe { std::ptr::copy_nonoverlapping(value.cast(), slot.0.as_mut_ptr(), size as usize) };
    }
    chosen
}

/// Checks that all of `lanes`, of the whole threadgroup, wait at one barrier of the source.
fn meet_at_one_place(
    worker: &Worker,
    lanes: std::ops::Range<usize>,
    what: &'static str,
    waiting: impl Fn(&Worker, usize) -> u32,
) -> Result<(), Stop> {
    // SAFETY: the module outlives the dispatch.
    let module = unsafe { &*worker.module };
    let position = |lane: usize| Position::of(&worker.lanes[lane].thread);
    let waits = |lane: usize| waiting(worker, lane) & 1 << (lane % LANES) != 0;
    let Some(first) = lanes.clone().find(|&lane| waits(lane)) else { return Ok(()) };
    let pc = worker.lanes[first].pc;
    let absent = lanes.clone().find(|&lane| !waits(lane) || !same_place(module, worker.lanes[lane].pc, pc));
    let Some(absent) = absent else { return Ok(()) };
    let live = worker.simdgroups[absent / LANES].live & 1 << (absent % LANES) != 0;
    let elsewhere = if live { worker.lanes[absent].pc } else { 0 };
    Err(Stop::Divergent(Divergence {
        matrix: false,
        what,
        waits: (position(first), pc),
        absent: (position(absent), elsewhere),
    }))
}

/// Checks, in watched runs, that `lanes` of a simdgroup did equally many matrix operations.
fn same_matrix_operations(worker: &Worker, index: usize, lanes: u32) -> Result<(), Stop> {
    if worker.watch.is_none() {
        return Ok(());
    }
    let start = index * LANES;
    let among =
        || (0..LANES).filter(|lane| lanes & 1 << lane != 0).map(|lane| &worker.lanes[start + lane].thread);
    let most = among().max_by_key(|thread| thread.matrix_operations);
    let fewest = among().min_by_key(|thread| thread.matrix_operations);
    match (most, fewest) {
        (Some(most), Some(fewest)) if most.matrix_operations != fewest.matrix_operations => {
            Err(Stop::Divergent(Divergence {
                matrix: true,
                what: "simdgroup matrix operation",
                waits: (Position::of(most), worker.matrix_pc),
                absent: (Position::of(fewest), 0),
            }))
        }
        _ => Ok(()),
    }
}
