//! Name resolution in a namespace: real DNS servers (dnsmasq), and an `/etc/resolv.conf` of its own.
//!
//! `ip netns exec` binds the files of `/etc/netns/NAME` over those of `/etc` (ip-netns(8)), so that what runs there, the
//! C library included, asks these servers.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::netns::Ns;
use super::process::Process;
use super::wait::eventually;

/// A namespace's own files of name resolution; dropping it removes them.
#[derive(Debug)]
pub struct Resolution {
    directory: PathBuf,
}

impl Ns {
    /// Has programs in this namespace ask these resolvers, and know these hosts.
    #[track_caller]
    pub fn resolve_by(&self, resolvers: &[impl Display], hosts: &str) -> Resolution {
        let directory = PathBuf::from("/etc/netns").join(self.name());
        let lines: String = resolvers.iter().map(|it| format!("nameserver {it}\n")).collect();
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(directory.join("resolv.conf"), &lines))
            .and_then(|()| fs::write(directory.join("hosts"), hosts))
            .unwrap_or_else(|error| panic!("cannot write '{}': {error}", directory.display()));
        let shown = directory.display();
        self.log
            .add(format!("mkdir -p {shown}; printf '{lines}' >{shown}/resolv.conf; printf '{hosts}' >{shown}/hosts"));
        Resolution { directory }
    }

    /// A DNS server on one address, which knows `records` (as in a hosts file) and that nothing else of `.example` is.
    #[track_caller]
    pub fn dns_server(&self, address: impl Display, records: &str) -> Process {
        let file = std::env::temp_dir().join(format!("{}-{address}.hosts", self.name()));
        fs::write(&file, records).unwrap_or_else(|error| panic!("cannot write '{}': {error}", file.display()));
        let server = self.spawn([
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "--except-interface=lo",
            "--user=root",
            "--local=/example/",
            "--log-facility=-",
            "--pid-file",
            &format!("--addn-hosts={}", file.display()),
            &format!("--listen-address={address}"),
        ]);
        server.wait_for("dnsmasq's records", Duration::from_secs(10), |streams| {
            let is_read = |line: &String| line.contains("read ") && line.contains("names");
            streams.stderr.iter().chain(&streams.stdout).any(is_read).then_some(())
        });
        eventually(Duration::from_secs(10), || fs::remove_file(&file).ok());
        server
    }
}

impl Resolution {
    /// Has programs in the namespace look host names up by these services, as nsswitch.conf names them.
    #[track_caller]
    pub fn look_up_by(&self, services: &str) {
        let file = self.directory.join("nsswitch.conf");
        fs::write(&file, format!("hosts: {services}\n"))
            .unwrap_or_else(|error| panic!("cannot write '{}': {error}", file.display()));
    }
}

impl Drop for Resolution {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
