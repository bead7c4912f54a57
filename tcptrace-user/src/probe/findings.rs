//! The odd features of a name's resolution: a pure function of the findings.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::diagnosis::{Answer, DnsFailure, Names, Resolver};

/// Slower than this, users notice.
const SLOW: Duration = Duration::from_secs(1);

/// Something to know about how the name is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The word in JSON.
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// Everything odd, the worst first.
#[must_use]
pub(super) fn of_names(names: &Names) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |kind, text: String| found.push(Finding { kind, text });
    let system = names.system.as_ref();
    for resolver in &names.resolvers {
        let failures: BTreeSet<_> = [&resolver.v4, &resolver.v6].into_iter().filter_map(failure).collect();
        for (kind, text) in failures {
            add(kind, format!("resolver {} {text}", resolver.name()));
        }
    }
    for (family, of) in [("IPv4", v4 as fn(&Resolver) -> &Answer), ("IPv6", v6)] {
        let said: Vec<_> = names.resolvers.iter().filter_map(|it| Some((it.name(), set(of(it))?))).collect();
        if let [(first, has), rest @ ..] = said.as_slice()
            && let Some((other, differs)) = rest.iter().find(|(_, set)| set != has)
        {
            let (has, differs) = (listed(has), listed(differs));
            add("resolvers_differ", format!("resolvers disagree on {family}: {first}: {has}; {other}: {differs}"));
        }
    }
    let of_resolvers: BTreeSet<IpAddr> =
        names.resolvers.iter().flat_map(|it| [&it.v4, &it.v6]).filter_map(set).flatten().collect();
    let of_hosts: BTreeSet<IpAddr> = names.hosts.iter().copied().collect();
    if !of_hosts.is_empty() && !of_resolvers.is_empty() && of_hosts.is_disjoint(&of_resolvers) {
        add("hosts_file_differs", format!("/etc/hosts says {}, DNS {}", listed(&of_hosts), listed(&of_resolvers)));
    }
    if !names.services_not_asked.is_empty() {
        let services = names.services_not_asked.join(", ");
        add(
            "nsswitch_ignored",
            format!(
                "without getent, {services} of /etc/nsswitch.conf cannot be asked: programs may get other addresses"
            ),
        );
    }
    if let Some(step) = system {
        match &step.found {
            Err(error) if !of_resolvers.is_empty() || !of_hosts.is_empty() => {
                add(
                    "applications_fail",
                    format!("applications get no address (getaddrinfo: {error}) although there are some"),
                );
            }
            Ok(_) if step.took >= SLOW => {
                add("slow", format!("applications wait {:.1} s for the addresses", step.took.as_secs_f64()));
            }
            _ => {}
        }
    }
    found
}

fn v4(resolver: &Resolver) -> &Answer {
    &resolver.v4
}

fn v6(resolver: &Resolver) -> &Answer {
    &resolver.v6
}

/// The addresses an answer stands for; that the name does not exist is an answer.
fn set(answer: &Answer) -> Option<BTreeSet<IpAddr>> {
    match &answer.result {
        Ok(addresses) => Some(addresses.iter().copied().collect()),
        Err(DnsFailure::NxDomain) => Some(BTreeSet::new()),
        Err(_) => None,
    }
}

fn failure(answer: &Answer) -> Option<(&'static str, String)> {
    match answer.result.as_ref().err()? {
        DnsFailure::Silent => Some(("resolver_silent", "does not answer".into())),
        DnsFailure::ServFail => Some(("resolver_fails", "answers SERVFAIL: it cannot find out".into())),
        DnsFailure::Refused => Some(("resolver_refuses", "refuses to answer this host".into())),
        DnsFailure::Other(error) => Some(("resolver_error", format!("cannot be used: {error}"))),
        DnsFailure::NxDomain => None,
    }
}

/// Addresses in words.
pub(super) fn listed<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    let words: Vec<_> = addresses.into_iter().map(ToString::to_string).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::{super::diagnosis::Step, *};

    fn answer(result: Result<&[&str], DnsFailure>) -> Answer {
        let result = result.map(|it| it.iter().map(|it| it.parse().expect("an address")).collect());
        Answer { took: Duration::ZERO, over_tcp: false, result }
    }

    fn resolver(last: u8, v4: Result<&[&str], DnsFailure>) -> Resolver {
        Resolver {
            address: [192, 0, 2, last].into(),
            zone: None,
            asked: "a".into(),
            v4: answer(v4),
            v6: answer(Ok(&[])),
        }
    }

    #[test]
    fn each_oddity_is_told() {
        use DnsFailure::{NxDomain, Refused, ServFail, Silent};
        type Case = (&'static str, Vec<Resolver>, &'static [&'static str]);
        let one = || Ok(&["192.0.2.7"][..]);
        let both = || Ok(&["192.0.2.8", "192.0.2.7"][..]);
        let cases: [Case; 9] = [
            ("all is well", vec![resolver(1, one()), resolver(2, one())], &[]),
            ("order does not matter", vec![resolver(1, Ok(&["192.0.2.7", "192.0.2.8"])), resolver(2, both())], &[]),
            ("they differ", vec![resolver(1, one()), resolver(2, both())], &["resolvers_differ"]),
            ("one knows no such name", vec![resolver(1, one()), resolver(2, Err(NxDomain))], &["resolvers_differ"]),
            ("both know no such name", vec![resolver(1, Err(NxDomain)), resolver(2, Err(NxDomain))], &[]),
            ("silent", vec![resolver(1, Err(Silent)), resolver(2, one())], &["resolver_silent"]),
            ("SERVFAIL", vec![resolver(1, Err(ServFail)), resolver(2, one())], &["resolver_fails"]),
            ("refused", vec![resolver(1, Err(Refused))], &["resolver_refuses"]),
            ("nobody", vec![], &[]),
        ];
        for (what, resolvers, kinds) in cases {
            let names = Names { resolvers, ..Names::default() };
            let found: Vec<_> = of_names(&names).into_iter().map(|it| it.kind).collect();
            assert_eq!(found, kinds, "{what}");
        }
    }

    #[test]
    fn what_applications_get_is_held_against_it() {
        let address: IpAddr = [192, 0, 2, 7].into();
        let mut names = Names {
            resolvers: vec![resolver(1, Ok(&["192.0.2.7"]))],
            hosts: vec![[192, 0, 2, 9].into()],
            system: Some(Step { took: Duration::from_secs(5), found: Ok(vec![address]) }),
            ..Names::default()
        };
        let kinds = |names: &Names| of_names(names).into_iter().map(|it| it.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&names), ["hosts_file_differs", "slow"]);
        names.hosts.clear();
        names.system = Some(Step { took: Duration::ZERO, found: Err("no".into()) });
        assert_eq!(kinds(&names), ["applications_fail"]);
        names.services_not_asked = vec!["mdns4".to_owned()];
        assert_eq!(kinds(&names), ["nsswitch_ignored", "applications_fail"]);
    }
}
