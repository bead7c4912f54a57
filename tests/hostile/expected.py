"""What a right answer has to say, case by case. It was written before the first run; LIST.md has the reasons.

`P`, `L`, `C` are the highest confidence that the case allows for a cause. A cause that is not named is wrong. `None`
stands for no cause: nothing failed. `unknown` is right where it is named; elsewhere the proof was there and unused.
"""

P, L, C = "possible", "likely", "certain"


def attempt(outcomes, causes, port=None, client=None, server=None, says=None, never=None, observer=None, least=1, tries=None):
    return dict(type="attempt", outcomes=outcomes.split(), causes=causes, port=port, client=client, server=server, says=says, never=never, observer=observer, least=least, tries=tries)


def call(causes, errno=None, says=None, never=None, least=1, port=None, server=None, observer=None):
    return dict(type="connect", outcomes=["not_sent"], causes=causes, errno=errno, says=says, never=never, least=least, port=port, server=server, client=None, observer=observer, tries=None)


ENDED = "established closed half_closed reset_by_client reset_by_server"
EXPECTED = {
    "01": [attempt("reset_on_answer", dict(unknown=C, port_closed=P, listen_queue_full=P, firewall_reject=P, middlebox_reset=P, port_reuse=P), client=(40110, 40111), least=2, never="start the service")],
    "02": [attempt("half_open wrong_answer " + ENDED, dict(unknown=C, duplicate_ip=P, listen_queue_full=P, middlebox_reset=P), client=(51002, 51002))],
    "03": [attempt(ENDED, dict(port_reuse=C), client=(45678, 45678), tries=2)],
    "04": [attempt("refused", dict(port_closed=L, unknown=C, listen_queue_full=P), port=9001, least=3)],
    "05": [],
    "06": [attempt("no_reply", dict(bad_checksum=L), client=(39274, 39274))],
    "07": [attempt("half_open", dict(bad_checksum=L), port=8000)],
    "08": [attempt("no_reply", dict(firewall_drop=L, unknown=C, bad_checksum=P), port=9100)],
    "09": [attempt("half_open " + ENDED, {None: C, "unknown": C, "asymmetric_path": L, "firewall_drop": P, "listen_queue_full": P}, client=(40000, 40000))],
    "10": [attempt("no_reply", dict(unknown=C, port_reuse=L, firewall_drop=P), client=(13261, 13261))],
    "11": [attempt(ENDED, {None: C, "unknown": C, "listen_queue_full": P, "syn_queue_full": P}, client=(60004, 60012), least=0)],
    "12": [attempt("unreachable", dict(firewall_reject=L, unknown=C, port_closed=P), port=81), attempt("unreachable", dict(firewall_reject=L, unknown=C, port_closed=P), port=502)],
    "13": [attempt("unreachable", dict(unknown=C, firewall_reject=P, network_unreachable=P, nat_exhausted=P, conntrack_full=P), client=(4096, 4098), least=3)],
    "14": [attempt("aborted", dict(application_gave_up=L, unknown=C, health_check=P), client=(41010, 41018), least=5)],
    "15": [attempt("unreachable", dict(host_down=L, unknown=C, network_unreachable=P, firewall_reject=P), client=(50000, 50001), least=2)],
    "16": [attempt("refused", dict(port_closed=L, unknown=C, firewall_reject=P), port=8443, tries=1)],
    "17": [],
    "18": [attempt("refused", dict(middlebox_reset=C, firewall_reject=C), client=(47002, 47006), least=3)],
    "19": [attempt("reset_by_server", dict(middlebox_reset=C, firewall_reject=L), client=(51506, 51507), least=2)],
    "20": [attempt("half_open aborted", dict(unknown=C, asymmetric_path=P, answer_lost_locally=P, middlebox_reset=P, nat_mismatch=P), port=21080, least=2)],
    "21": [attempt("half_open", dict(unknown=C, client_vanished=P, asymmetric_path=P), client=(55346, 55346))],
    "22": [attempt("refused", dict(options_blocked=C, unknown=C, port_closed=P), client=(60939, 60941), least=3)],
    "23": [attempt("no_reply", dict(unknown=C, options_blocked=P, port_reuse=P, firewall_drop=P), client=(31000, 31001), least=2)],
    "24": [attempt(ENDED, {None: C, "unknown": C, "host_down": P}, client=(40010, 40010)), attempt("refused", dict(port_closed=L, unknown=C), port=8443)],
    "25": [attempt("refused", dict(port_closed=L, unknown=C, duplicate_ip=P), port=8080)],
    "26": [attempt("no_reply", dict(unknown=C, nat_exhausted=P, firewall_drop=P), client=(33100, 33104), least=3)],
    "27": [],
    "28": [],
    "29": [attempt("refused", dict(unknown=C, port_reuse=L, port_closed=P, listen_queue_full=P, firewall_reject=P), client=(50123, 50123))],
    "30": [attempt("no_reply", dict(unknown=C, host_down=P, firewall_drop=P), client=(42000, 42029), least=30)],
    "31": [attempt("refused", dict(port_closed=C), port=5656, server="::1", says=r"127\.0\.0\.1", never="nobody listens")],
    "32": [call(dict(connect_failed=C), says="EINVAL|[Ii]nvalid")],
    "33": [],
    "34": [attempt("no_reply", dict(unknown=C, options_blocked=C), port=179, says="(?i)md5|signature", never="nft|firewall|iptables")],
    "35": [attempt("no_reply", dict(unknown=C), port=179, says="(?i)min_?ttl|ttl", never="nft|firewall|iptables")],
    "36": [attempt("no_reply half_open aborted", dict(listen_queue_full=C), port=8080)],
    "37": [attempt("reset_by_server", dict(unknown=C, no_backend=P), port=8080, least=4)],
    "38": [attempt("reset_by_server", dict(no_backend=L), port=9000, server="198.18.1.1", least=3), attempt("refused", dict(port_closed=C), port=9000, server="172.17.0.2", least=3, says=r"127\.0\.0\.1", never="nobody listens")],
    "39": [attempt("reset_by_server", dict(unknown=C, no_backend=P), port=22, least=2)],
    "40": [attempt("no_reply", dict(dropped_by_local_firewall=C), port=10050, says="FORWARD", never="chain INPUT")],
    "41": [attempt("no_reply", dict(unknown=C, nat_mismatch=L, reverse_path_filter=L), server="194.11.242.75", says="(?i)own address|martian|itself|local_source|source"), attempt("no_reply", dict(unknown=C, nat_mismatch=L, reverse_path_filter=C), server="10.0.0.10", least=0)],
    "42": [attempt("no_reply", dict(unknown=C), observer="s", says="(?i)otherhost|link address|mac address|another host"), attempt("no_reply", dict(unknown=C, host_down=P, firewall_drop=P), observer="c")],
    "43": [call(dict(dropped_by_local_firewall=C), says="(?i)cgroup|bpf|policy")],
    "44": [call(dict(connect_failed=C, dropped_by_local_firewall=C), says="EPERM|(?i:not permitted)")],
    "45": [call(dict(no_local_port=C, connect_failed=C), says="EADDRNOTAVAIL|(?i:assign)", never="ip_local_port_range|used up|no local port is left")],
    "46": [call(dict(no_local_port=C, connect_failed=C), says="EADDRNOTAVAIL|(?i:address)", never="ip_local_port_range|used up|no local port is left")],
    "47": [attempt("refused", dict(firewall_reject=C), port=8080, least=3)],
    "48": [attempt("refused", dict(port_closed=C), port=8080, says="mgmt", never="nobody listens")],
    "49": [attempt("no_reply half_open " + ENDED, dict(dropped_by_local_firewall=C, asymmetric_path=L), port=6443)],
    "50": [attempt("no_reply half_open aborted", dict(listen_queue_full=C), port=5000)],
}
# Options beyond `-r FILE --all --json`.
OPTIONS = {"06": ["--decap"]}
