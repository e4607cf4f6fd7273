//! Command line: pairs of `--name value`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::Failure;

/// The pairs as given; each is read with the type and default that its user names.
pub(crate) struct Args(BTreeMap<String, String>);

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut pairs = BTreeMap::new();
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix("--")
                .ok_or_else(|| format!("{word:?} is not an option"))?;
            let value = words
                .next()
                .ok_or_else(|| format!("--{name} needs a value"))?;
            pairs.insert(name.to_owned(), value);
        }
        Ok(Self(pairs))
    }

    pub(crate) fn optional<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        match self.0.get(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(format!("--{name}: cannot read {text:?}").into()),
            },
        }
    }

    pub(crate) fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T, Failure> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    pub(crate) fn required<T: FromStr>(&self, name: &str) -> Result<T, Failure> {
        self.optional(name)?
            .ok_or_else(|| format!("--{name} is missing").into())
    }
}

#[cfg(test)]
mod tests {
    use super::Args;

    fn args(words: &[&str]) -> Result<Args, crate::Failure> {
        Args::parse(words.iter().map(ToString::to_string))
    }

    #[test]
    fn reads_pairs_with_types_and_defaults() {
        let args = args(&["--rate", "2.5", "--target", "127.0.0.1:1"]).unwrap();
        assert!((args.required::<f64>("rate").unwrap() - 2.5).abs() < f64::EPSILON);
        assert_eq!(args.or("each", 7_u64).unwrap(), 7);
        assert!(args.required::<u64>("seconds").is_err());
        assert!(args.optional::<u64>("target").is_err());
    }

    #[test]
    fn refuses_what_is_no_pair() {
        assert!(args(&["rate", "1"]).is_err());
        assert!(args(&["--rate"]).is_err());
    }
}
