//! The urls that were parsed, and one [`Origin`] for all of those that go to one place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::origin::Origin;
use crate::target::{Target, UrlError};

/// Parsed urls kept. Far more than workers times paths; beyond it all are dropped and parsed anew.
const MAX_TARGETS: usize = 8192;

#[derive(Default)]
pub(crate) struct Targets {
    urls: HashMap<Box<str>, Arc<Target>>,
    origins: HashSet<Arc<Origin>>,
}

impl Targets {
    /// The parsed url.
    pub(crate) fn get(&mut self, url: &str) -> Result<Arc<Target>, UrlError> {
        if let Some(target) = self.urls.get(url) {
            return Ok(Arc::clone(target));
        }
        let mut target = Target::parse(url)?;
        if self.urls.len() >= MAX_TARGETS {
            self.urls.clear();
            // One that a connection or an exchange holds must stay the only one of its place.
            self.origins.retain(|origin| Arc::strong_count(origin) > 1);
        }
        if let Some(known) = self.origins.get(&target.origin) {
            target.origin = Arc::clone(known);
        } else {
            self.origins.insert(Arc::clone(&target.origin));
        }
        let target = Arc::new(target);
        self.urls.insert(url.into(), Arc::clone(&target));
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_one_place_share_their_origin() {
        let mut targets = Targets::default();
        let mut origin = |url| Arc::clone(&targets.get(url).unwrap().origin);
        let first = origin("http://A:80/one");
        for url in ["http://a/two?q", "http://A:80/one", "http://a:80"] {
            assert!(Arc::ptr_eq(&first, &origin(url)), "{url}");
        }
        for url in ["https://a:80/", "http://a:81/", "http://b/"] {
            assert!(!Arc::ptr_eq(&first, &origin(url)), "{url}");
        }
    }

    #[test]
    fn a_full_table_forgets_what_nobody_holds() {
        let mut targets = Targets::default();
        let held = Arc::clone(&targets.get("http://held/").unwrap().origin);
        for number in 0..MAX_TARGETS {
            targets.get(&format!("http://a{number}/")).unwrap();
        }
        assert_eq!((targets.urls.len(), targets.origins.len()), (1, 2));
        assert!(Arc::ptr_eq(
            &held,
            &targets.get("http://held/p").unwrap().origin
        ));
    }
}
