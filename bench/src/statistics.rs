//! Medians with their spread, and percentiles.

use std::fmt;

use anyhow::Result;

/// What several rounds said of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values = sorted(values.into_iter().collect());
        let or_nothing = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        Self {
            median: or_nothing(values.get(values.len() / 2)),
            least: or_nothing(values.first()),
            greatest: or_nothing(values.last()),
        }
    }

    /// Of each round's first figure over its second one.
    pub(crate) fn of_ratios<T>(rounds: (&[T], &[T]), figure: impl Fn(&T) -> f64) -> Self {
        Self::of(rounds.0.iter().zip(rounds.1).map(|(over, under)| figure(over) / figure(under)))
    }

    /// With a unit after each figure.
    pub(crate) fn in_units(self, unit: &str, decimals: usize) -> String {
        let Self { median, least, greatest } = self;
        format!("{median:.decimals$}{unit} ({least:.decimals$} to {greatest:.decimals$})")
    }
}

/// A ratio.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.in_units("×", 2))
    }
}

pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Of sorted values, the least one that so many hundredths of them do not exceed.
pub(crate) fn percentile(sorted: &[f64], hundredths: usize) -> f64 {
    let rank = (sorted.len() * hundredths).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// Each round does this once with each of the ways, beginning with another one each time; what it gave, for each way.
pub(crate) fn in_turns<const N: usize, W, R>(
    rounds: usize,
    ways: &[W; N],
    mut act: impl FnMut(&W) -> Result<R>,
) -> Result<[Vec<R>; N]> {
    let mut given = std::array::from_fn(|_| Vec::with_capacity(rounds));
    for round in 0..rounds {
        for turn in 0..N {
            let which = (round + turn) % N;
            if let (Some(way), Some(given)) = (ways.get(which), given.get_mut(which)) {
                given.push(act(way)?);
            }
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_follow_one_outlier_and_the_spread_shows_it() {
        let spread = Spread::of([1.0, 100.0, 2.0]);
        assert_eq!(spread.to_string(), "2.00× (1.00 to 100.00)");
        let (over, under) = ([6.0, 9.0, 8.0], [2.0, 3.0, 4.0]);
        let ratio = Spread::of_ratios((&over[..], &under[..]), |value| *value);
        assert_eq!(ratio, Spread { median: 3.0, least: 2.0, greatest: 3.0 });
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        let at = |hundredths| format!("{:.0}", percentile(&values, hundredths));
        assert_eq!([at(50), at(99), at(100)], ["100", "198", "200"]);
        assert_eq!(format!("{:.0}", percentile(&[7.0], 99)), "7");
        assert!(percentile(&[], 50).is_nan());
    }

    #[test]
    fn every_round_begins_with_another_way() {
        let mut order = String::new();
        let given = in_turns(3, &['a', 'b', 'c'], |way| {
            order.push(*way);
            Ok(order.len())
        });
        assert_eq!(order, "abcbcacab");
        assert_eq!(given.unwrap(), [vec![1, 6, 8], vec![2, 4, 9], vec![3, 5, 7]]);
    }
}
