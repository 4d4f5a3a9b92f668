//! Statistical tests of permutations. Seeds are fixed, so every run gives the same figures.
//! `docs/guides/shuffle.md` lists the results.

use crate::shuffle::permutation::*;

/// Maximum deviation of a figure, in standard deviations.
const LIMIT: f64 = 4.5;
const SIZES: [u64; 3] = [5_000, 65_537, 1_000_000];

fn float(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap())
}

fn at(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

/// The order as a list.
fn listed(n: u64, map: impl Fn(&mut [RowRequest])) -> Vec<u64> {
    let mut all: Vec<RowRequest> = (0..n).map(|index| RowRequest { index, slot: 0 }).collect();
    map(&mut all);
    all.iter().map(|request| request.index).collect()
}

fn order(n: u64, seed: u64, epoch: u64) -> Vec<u64> {
    listed(n, |batch| Permutation::new(n, seed, epoch).map(batch))
}

fn order_of_moves<const MOVES: usize>(n: u64, seed: u64, epoch: u64) -> Vec<u64> {
    let grid = Grid::<MOVES>::new(n, Random::new(Purpose::Permutation, seed, epoch));
    listed(n, |batch| grid.map(batch, n))
}

/// A chi-square statistic as a standard normal one (Wilson and Hilferty, 1931).
fn standardised(chi: f64, freedom: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    ((chi / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

/// Standardised chi-square of counts that are all expected to be equal.
fn evenness(counts: &[u64]) -> f64 {
    let expected = float(counts.iter().sum()) / float(counts.len() as u64);
    let chi = counts.iter().map(|&count| (float(count) - expected).powi(2) / expected).sum();
    standardised(chi, float(counts.len() as u64) - 1.0)
}

/// Standardised chi-square of pairs of labels that are expected to be independent. Each label is
/// one of `kinds`, which are about equally frequent.
fn independence(labels: impl Iterator<Item = (u64, u64)>, kinds: u64) -> f64 {
    let side = at(kinds);
    let mut counts = vec![0_u64; side * side];
    labels.for_each(|(a, b)| counts[at(a) * side + at(b)] += 1);
    let total = float(counts.iter().sum());
    let sum_of =
        |cells: &mut dyn Iterator<Item = usize>| float(cells.map(|cell| counts[cell]).sum());
    let rows: Vec<f64> = (0..side).map(|a| sum_of(&mut (a * side..(a + 1) * side))).collect();
    let columns: Vec<f64> =
        (0..side).map(|b| sum_of(&mut (b..side * side).step_by(side))).collect();
    let cell = |(cell, &count): (usize, &u64)| {
        let expected = rows[cell / side] * columns[cell % side] / total;
        (float(count) - expected).powi(2) / expected
    };
    let chi = counts.iter().enumerate().map(cell).sum();
    standardised(chi, (float(kinds) - 1.0).powi(2))
}

/// Standardised count of rare events, of which `mean` are expected.
fn rarity(count: u64, mean: f64) -> f64 {
    2.0 * (float(count) + 0.375).sqrt() - 2.0 * (mean + 0.125).sqrt()
}

/// Standardised correlation of `count` pairs of numbers below `n`.
fn correlation(pairs: impl Iterator<Item = (u64, u64)>, n: u64, count: u64) -> f64 {
    let mean = (float(n) - 1.0) / 2.0;
    let products: f64 = pairs.map(|(a, b)| (float(a) - mean) * (float(b) - mean)).sum();
    let variance = (float(n) * float(n) - 1.0) / 12.0;
    products / (variance * float(count).sqrt())
}

/// Every figure of one order.
fn figures(order: &[u64]) -> Vec<(String, f64)> {
    let n = order.len() as u64;
    let columns = (n - 1).isqrt() + 1;
    let mut all = Vec::new();
    let mut figure = |name: String, value: f64| all.push((name, value));
    let indexed = || (0..n).zip(order.iter().copied());
    // Whether the positions of elements depend on where they come from: stretches of the order,
    // columns of the grid, and remainders.
    for kinds in [2, 7, 16, 32] {
        let part = |value: u64, whole: u64| value * kinds / whole;
        figure(
            format!("stretches, {kinds}"),
            independence(indexed().map(|(i, to)| (part(i, n), part(to, n))), kinds),
        );
        let column = |value: u64| part(value % columns, columns);
        figure(
            format!("columns, {kinds}"),
            independence(indexed().map(|(i, to)| (column(i), column(to))), kinds),
        );
        figure(
            format!("stretches to columns, {kinds}"),
            independence(indexed().map(|(i, to)| (part(i, n), column(to))), kinds),
        );
        figure(
            format!("columns to stretches, {kinds}"),
            independence(indexed().map(|(i, to)| (column(i), part(to, n))), kinds),
        );
        figure(
            format!("modulo {kinds}"),
            independence(indexed().map(|(i, to)| (i % kinds, to % kinds)), kinds),
        );
    }
    // Whether neighbours in the order, and in its rows and columns, depend on each other.
    for lag in [1, 2, 3, 16, columns - 1, columns, columns + 1, 2 * columns, n.div_ceil(columns)] {
        let pairs = || order.iter().copied().zip(order[at(lag)..].iter().copied());
        let serial = correlation(pairs(), n, n - lag) + 1.0 / float(n).sqrt();
        figure(format!("serial correlation at {lag}"), serial);
        let distances: f64 = pairs().map(|(a, b)| float(a.abs_diff(b))).sum();
        let mean = distances / float(n - lag);
        figure(
            format!("distance at {lag}"),
            (mean - (float(n) + 1.0) / 3.0) / (float(n) * (2.0 / (45.0 * float(n))).sqrt()),
        );
        let difference = |(a, b): (u64, u64)| if b > a { b - a } else { b + n - a };
        let mut counts = [0; 50];
        pairs().for_each(|pair| counts[at(difference(pair) * 50 / (n + 1))] += 1);
        figure(format!("differences at {lag}"), evenness(&counts));
        let mut counts = [0; 50];
        pairs().for_each(|(a, b)| {
            counts[at((b + columns - a % columns) % columns * 50 / columns)] += 1
        });
        let widths: Vec<u64> = (0..50)
            .map(|k| (0..columns).filter(|d| d * 50 / columns == k).count() as u64)
            .collect();
        let expected = |k: usize| float(n - lag) * float(widths[k]) / float(columns);
        let chi = (0..50).map(|k| (float(counts[k]) - expected(k)).powi(2) / expected(k)).sum();
        figure(format!("differences of columns at {lag}"), standardised(chi, 49.0));
        let adjacent = pairs().filter(|(a, b)| a.abs_diff(*b) == 1).count() as u64;
        figure(format!("still adjacent at {lag}"), rarity(adjacent, 2.0));
        let same_row = pairs().filter(|(a, b)| a / columns == b / columns).count() as u64;
        figure(
            format!("same row at {lag}"),
            (float(same_row) - float(n - lag) / float(columns))
                / (float(n - lag) / float(columns)).sqrt(),
        );
    }
    figure("fixed points".into(), rarity(indexed().filter(|(i, to)| i == to).count() as u64, 1.0));
    all
}

/// Every figure of two orders that are expected to be independent.
fn figures_of_two(one: &[u64], other: &[u64]) -> Vec<(String, f64)> {
    let n = one.len() as u64;
    let pairs = || one.iter().copied().zip(other.iter().copied());
    let kinds = if n < 1000 { 4 } else { 16 };
    let part = |value: u64| value * kinds / n;
    vec![
        ("correlation".into(), correlation(pairs(), n, n)),
        ("stretches".into(), independence(pairs().map(|(a, b)| (part(a), part(b))), kinds)),
        ("moduli".into(), independence(pairs().map(|(a, b)| (a % kinds, b % kinds)), kinds)),
        ("agreements".into(), rarity(pairs().filter(|(a, b)| a == b).count() as u64, 1.0)),
        (
            "almost agreements".into(),
            rarity(pairs().filter(|(a, b)| a.abs_diff(*b) == 1).count() as u64, 2.0),
        ),
    ]
}

fn assert_inconspicuous(what: &str, figures: Vec<(String, f64)>) {
    for (name, value) in figures {
        assert!(value.abs() < LIMIT, "{what}: {name}: {value:.2} standard deviations");
    }
}

#[test]
fn orders_of_large_n_are_as_random_ones() {
    for n in SIZES {
        for seed in 0..3 {
            assert_inconspicuous(&format!("n = {n}, seed {seed}"), figures(&order(n, seed, 1)));
        }
    }
}

#[test]
fn too_few_moves_are_noticed() {
    for n in SIZES {
        let all = figures(&order_of_moves::<4>(n, 0, 1));
        assert!(all.iter().any(|(_, value)| value.abs() > 2.0 * LIMIT), "n = {n}");
    }
}

/// How many pairs from one row of the grid have kept the difference of their columns, in standard
/// deviations from the expected number. Moves hide this last (Patarin, "Generic attacks on Feistel
/// schemes", Asiacrypt 2001).
fn kept_differences<const MOVES: usize>(orders: u64) -> f64 {
    const SIDE: u64 = 71;
    let mut kept = 0;
    for seed in 0..orders {
        let order = order_of_moves::<MOVES>(SIDE * SIDE, seed, 0);
        for row in order.chunks(at(SIDE)) {
            for (a, from) in row.iter().enumerate() {
                let shift = from % SIDE + SIDE - a as u64;
                kept += (a + 1..row.len())
                    .filter(|&b| (row[b] + 3 * SIDE - b as u64 - shift).is_multiple_of(SIDE))
                    .count() as u64;
            }
        }
    }
    let pairs = float(orders * SIDE) * float(SIDE * (SIDE - 1) / 2);
    let expected = pairs * float(SIDE) / float(SIDE * SIDE - 1);
    (float(kept) - expected) / expected.sqrt()
}

#[test]
fn summed_up_over_orders_six_moves_are_too_few_and_eight_are_not() {
    let (six, eight) = (kept_differences::<6>(500), kept_differences::<MOVES>(500));
    assert!(six > 2.0 * LIMIT, "six moves: {six}");
    assert!(eight.abs() < LIMIT, "eight moves: {eight}");
}

/// How evenly the orders of `key`'s seeds and epochs are spread over all `n!` orders.
fn evenness_of_all_orders(n: u64, key: impl Fn(u64) -> (u64, u64)) -> f64 {
    let orders: u64 = (1..=n).product();
    let mut counts = vec![0; at(orders)];
    for draw in 0..orders * 200 {
        let (seed, epoch) = key(draw);
        let listed = order(n, seed, epoch);
        // The order's number by its Lehmer code: for each place, how many later values are smaller.
        let number = listed.iter().enumerate().fold(0, |number, (place, value)| {
            let smaller = listed[place..].iter().filter(|other| *other < value).count() as u64;
            number * (n - place as u64) + smaller
        });
        counts[at(number)] += 1;
    }
    evenness(&counts)
}

#[test]
fn every_order_of_few_elements_is_as_likely() {
    for n in 2..=6 {
        let keys = [
            ("seeds", evenness_of_all_orders(n, |draw| (draw, 0))),
            ("epochs", evenness_of_all_orders(n, |draw| (7, draw))),
            ("both", evenness_of_all_orders(n, |draw| (draw / 20, draw % 20))),
        ];
        for (name, value) in keys {
            assert!(value.abs() < LIMIT, "n = {n}, over {name}: {value}");
        }
    }
}

#[test]
fn every_position_takes_from_everywhere_over_seeds_and_over_epochs() {
    for n in [100, 4096, 5000, 65_537, 1_000_000] {
        for position in [0, 1, n / 2, n - 1] {
            for over_seeds in [true, false] {
                let mut counts = [0; 20];
                let mut next_to = [0; 20];
                for draw in 0..4_000 {
                    let order = if over_seeds {
                        Permutation::new(n, draw, 5)
                    } else {
                        Permutation::new(n, 5, draw)
                    };
                    let (to, neighbour) = (order.get(position), order.get((position + 1) % n));
                    counts[at(to * 20 / n)] += 1;
                    next_to[at((neighbour + n - to) % n * 20 / n)] += 1;
                }
                for counts in [counts, next_to] {
                    let value = evenness(&counts);
                    assert!(
                        value.abs() < LIMIT,
                        "n = {n}, position {position}, over seeds: {over_seeds}: {value}"
                    );
                }
            }
        }
    }
}

/// Pairs of (seed, epoch) that a weak mixing function would confuse.
fn neighbours() -> Vec<[(u64, u64); 2]> {
    let mut pairs = vec![
        [(7, 8), (8, 7)],
        [(0, 0), (0, 1)],
        [(0, 0), (1, 0)],
        [(0, 1), (1, 0)],
        [(u64::MAX, 0), (0, u64::MAX)],
    ];
    for (seed, epoch) in [(0, 0), (7, 8), (1 << 32, 1), (123_456_789, 1000)] {
        pairs.push([(seed, epoch + 1), (seed + 1, epoch)]);
        pairs.push([(seed, epoch), (seed, epoch + 1)]);
        pairs.push([(seed, epoch), (seed + 1, epoch)]);
        pairs.push([(seed, epoch), (seed + 1, epoch + 1)]);
        pairs.push([(seed, epoch), (seed ^ (1 << 63), epoch)]);
        pairs.push([(seed, epoch), (seed, epoch ^ (1 << 40))]);
    }
    pairs
}

#[test]
fn neighbouring_seeds_and_epochs_give_unrelated_orders() {
    for n in [100, 4096, 5000, 65_537] {
        for [one, other] in neighbours() {
            let (a, b) = (order(n, one.0, one.1), order(n, other.0, other.1));
            assert_inconspicuous(
                &format!("n = {n}, {one:?} and {other:?}"),
                figures_of_two(&a, &b),
            );
        }
    }
}

/// Prints the results that `docs/guides/shuffle.md` lists.
#[test]
#[ignore = "prints figures, checks nothing"]
#[allow(clippy::print_stderr, reason = "for a person to read")]
fn report() {
    let worst = |figures: Vec<(String, f64)>| {
        figures.into_iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).unwrap()
    };
    for n in SIZES {
        for seed in 0..3 {
            let figures = figures(&order(n, seed, 1));
            let count = figures.len();
            eprintln!("n = {n}, seed {seed}: worst of {count}: {:?}", worst(figures));
        }
        eprintln!("n = {n}, 4 moves: {:?}", worst(figures(&order_of_moves::<4>(n, 0, 1))));
    }
    eprintln!(
        "kept differences: 6 moves {:.1}, 8 moves {:.1}",
        kept_differences::<6>(500),
        kept_differences::<8>(500)
    );
    for n in 2..=6 {
        let (seeds, epochs) = (
            evenness_of_all_orders(n, |draw| (draw, 0)),
            evenness_of_all_orders(n, |draw| (7, draw)),
        );
        eprintln!("all orders of {n}: over seeds {seeds:.2}, over epochs {epochs:.2}");
    }
    for n in [100, 4096, 5000, 65_537] {
        let pairs = neighbours().into_iter();
        let all = pairs.flat_map(|[a, b]| figures_of_two(&order(n, a.0, a.1), &order(n, b.0, b.1)));
        eprintln!("neighbours at n = {n}: worst {:?}", worst(all.collect()));
    }
}

#[test]
#[ignore = "prints times, checks nothing"]
#[allow(clippy::print_stderr, reason = "for a person to read")]
fn speed() {
    for n in [1000, 100_000, 10_000_000, 1_000_000_000, 1 << 50] {
        for batch in [32_u32, 1024] {
            let order = Permutation::new(n, 1, 1);
            let mut requests: Vec<RowRequest> =
                (0..batch).map(|_| RowRequest { index: 0, slot: 0 }).collect();
            let mut best = f64::MAX;
            let times = 1_000_000 / batch;
            for _ in 0..7 {
                let start = std::time::Instant::now();
                for k in 0..times {
                    let from = u64::from(k * batch) % (n - u64::from(batch).min(n - 1));
                    requests
                        .iter_mut()
                        .zip(from..)
                        .for_each(|(request, index)| request.index = index);
                    order.map(std::hint::black_box(&mut requests));
                }
                best = best.min(start.elapsed().as_secs_f64() / f64::from(times * batch));
            }
            eprintln!("n = {n}, batches of {batch}: {:.2} ns an index", best * 1e9);
        }
    }
}
