//! What the kernel itself counts and holds: the proof that a condition was made, asked of anybody but the tracer.
//!
//! <https://docs.kernel.org/networking/snmp_counter.html>

use std::fs;

use super::netns::Ns;

impl Ns {
    /// A counter of this namespace by its group and name: `TcpExt`, `ListenOverflows`. Panics where there is none.
    #[track_caller]
    pub fn counter(&self, group: &str, name: &str) -> u64 {
        // Not /proc/net, which is the main thread's.
        let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        let text = self.enter(|| read("netstat") + &read("snmp"));
        let mut rows = text.lines().filter_map(|line| line.split_once(": ")).filter(|(it, _)| *it == group);
        let names = rows.next().map(|(_, names)| names).unwrap_or_default().split(' ');
        let figures = rows.next().map(|(_, figures)| figures).unwrap_or_default().split(' ');
        let found = names.zip(figures).find(|(it, _)| *it == name).and_then(|(_, figure)| figure.parse().ok());
        found.unwrap_or_else(|| panic!("this kernel does not count {group} {name}"))
    }

    /// Connections that wait to be accepted on a port, and how many may; none when nobody listens there.
    #[track_caller]
    pub fn accept_queue(&self, port: u16) -> Option<(u32, u32)> {
        let text = self.run(["ss", "-Hltn", &format!("sport = :{port}")]);
        let mut words = text.split_whitespace().skip(1);
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    }

    /// The state of the socket on a local port that is no listener, in the words of `ss`; none when there is none.
    #[track_caller]
    pub fn socket_state(&self, port: u16) -> Option<String> {
        let text = self.run(["ss", "-Hatn", &format!("sport = :{port}")]);
        let states = text.lines().filter_map(|line| line.split_whitespace().next());
        states.filter(|it| *it != "LISTEN").map(str::to_owned).next()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{ConnectOptions, Lab, SERVER_V4};

    #[test]
    fn the_kernel_tells_of_queues_sockets_and_counts() {
        let lab = Lab::new();
        assert_eq!(lab.server.accept_queue(80), None);
        let _listener = lab.server.listen_without_accept((SERVER_V4, 80).into(), 1);
        let waiting = [40000, 40001].map(|port| lab.client.connect_from(port, (SERVER_V4, 80).into(), Duration::MAX));
        assert!(waiting.iter().all(Result::is_ok));
        assert_eq!(lab.server.accept_queue(80), Some((2, 1)));
        assert_eq!(lab.server.counter("TcpExt", "ListenOverflows"), 0);
        let options = ConnectOptions { from_port: Some(40002), ..Default::default() };
        let _trying = lab.client.start_connect((SERVER_V4, 80).into(), options).unwrap();
        assert_eq!(lab.server.counter("TcpExt", "ListenOverflows"), 1);
        let states = [40000, 40002, 40003].map(|port| lab.client.socket_state(port));
        assert_eq!(states.each_ref().map(Option::as_deref), [Some("ESTAB"), Some("SYN-SENT"), None]);
    }
}
