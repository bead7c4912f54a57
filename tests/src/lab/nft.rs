//! Firewall rules that last as long as a guard.
//!
//! <https://wiki.nftables.org/wiki-nftables/index.php/Quick_reference-nftables_in_10_minutes>

use std::sync::atomic::Ordering;

use super::netns::Ns;

/// A loaded table; dropping it deletes it.
#[derive(Debug)]
pub struct NftTable {
    ns: Ns,
    name: String,
}

impl Ns {
    /// Loads chains and sets as the table `inet lab` (`inet lab1` and so on while others were loaded before it).
    #[track_caller]
    pub fn nft(&self, rules: &str) -> NftTable {
        let name = match self.tables.fetch_add(1, Ordering::Relaxed) {
            0 => "lab".to_owned(),
            number => format!("lab{number}"),
        };
        self.run(["nft", &format!("table inet {name} {{\n{rules}\n}}")]);
        NftTable { ns: self.clone(), name }
    }

    /// One rule at one hook: `router.filter("forward", "tcp dport 80 reject with icmpx admin-prohibited")`.
    #[track_caller]
    pub fn filter(&self, hook: &str, rule: &str) -> NftTable {
        self.nft(&format!("chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}"))
    }
}

impl NftTable {
    /// What its rules that say `counter` have counted, together.
    pub fn packets(&self) -> u64 {
        let text = self.list();
        let counts = text.split("counter packets ").skip(1);
        counts.filter_map(|it| it.split(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Adds an element to a set of it, or takes it out.
    pub fn set_element(&self, set: &str, element: &str, is_there: bool) {
        let verb = if is_there { "add" } else { "delete" };
        self.ns.run(["nft", verb, "element", "inet", &self.name, set, &format!("{{ {element} }}")]);
    }

    /// The table as `nft list` shows it, counters included.
    pub fn list(&self) -> String {
        self.ns.run(["nft", "list", "table", "inet", &self.name])
    }
}

impl Drop for NftTable {
    fn drop(&mut self) {
        // The namespace may be gone already; then so is the table.
        let _ = self.ns.try_run(["nft", "delete", "table", "inet", &self.name]);
    }
}
