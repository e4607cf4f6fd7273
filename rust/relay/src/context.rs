//! What every task of a relay needs.

use parking_lot::Mutex;

use crate::config::RelayConfig;
use crate::pool::Pool;
use crate::stats::Stats;
use crate::targets::Targets;
use crate::tls::Tls;

pub(crate) struct Context {
    pub(crate) config: RelayConfig,
    pub(crate) targets: Mutex<Targets>,
    pub(crate) pool: Pool,
    pub(crate) tls: Tls,
    pub(crate) stats: Stats,
}

impl Context {
    pub(crate) fn new(config: RelayConfig) -> Self {
        Self {
            targets: Mutex::default(),
            pool: Pool::new(config.max_idle_per_worker, config.keep_alive),
            tls: Tls::new(config.ca_file.clone()),
            stats: Stats::default(),
            config,
        }
    }
}
