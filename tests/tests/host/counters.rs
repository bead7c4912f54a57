//! Counters of the network namespace that a thread is in, which need not be the process's.

use tcptrace::host::cookies_sent;
use tcptrace_tests::lab::{Lab, SERVER_V4};

use crate::PATIENCE;

#[test]
fn syn_cookies_are_those_of_the_calling_threads_namespace() {
    let lab = Lab::new();
    // Each SYN is answered with a cookie.
    lab.server.sysctl("net.ipv4.tcp_syncookies", "2");
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let in_server = || lab.server.enter(cookies_sent).expect("this kernel counts them");
    let (before, elsewhere) = (in_server(), cookies_sent());
    for port in 40000..40003 {
        lab.client.connect_from(port, (SERVER_V4, 80).into(), PATIENCE).expect("it listens");
    }
    assert_eq!(in_server(), before + 3);
    assert_eq!(lab.client.enter(cookies_sent), Some(0), "the client has sent none");
    // Other tests of this process run in namespaces of their own.
    assert_eq!(cookies_sent(), elsewhere);
}
