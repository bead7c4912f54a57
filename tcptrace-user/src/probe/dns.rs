//! One question to one resolver: over UDP, sent twice, then over TCP if the answer was cut (RFC 1035, section 4.2).
//!
//! The resolver is trusted to have followed aliases: all addresses of the answer are taken. No cache, no validation.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, rdata::RData};
use tcptrace_vocabulary::errno::errno_text;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    diagnosis::{Answer, DnsFailure},
    peer::Peer,
};

const PORT: u16 = 53;
/// The time that each of two questions waits: glibc waits five seconds, which is what makes applications slow.
const TRY: Duration = Duration::from_millis(1000);
const TRIES: usize = 2;
/// Room for a UDP answer: Linux hands over no larger datagram unless asked for EDNS, which is not.
const ANSWER: usize = 4096;

/// Asks for a name's addresses of one family.
pub(super) async fn ask(resolver: Peer, name: &str, v6: bool) -> Answer {
    let began = Instant::now();
    let mut over_tcp = false;
    let result = exchange(resolver, name, v6, &mut over_tcp).await;
    Answer { took: began.elapsed(), over_tcp, result }
}

async fn exchange(resolver: Peer, name: &str, v6: bool, over_tcp: &mut bool) -> Result<Vec<IpAddr>, DnsFailure> {
    let id = identifier();
    let question = question(id, name, v6).ok_or_else(|| DnsFailure::Other("not a name that DNS can ask for".into()))?;
    let to = resolver.at(PORT);
    let other =
        |error: io::Error| DnsFailure::Other(error.raw_os_error().map_or_else(|| error.to_string(), errno_text));
    let socket = open(to).map_err(other)?;
    let mut buffer = [0; ANSWER];
    for _ in 0..TRIES {
        socket.send(&question).await.map_err(other)?;
        let deadline = tokio::time::Instant::now() + TRY;
        // Whatever is not the answer to this question is waited past: a late one to another, or a forged one.
        while let Ok(received) = tokio::time::timeout_at(deadline, socket.recv(&mut buffer)).await {
            let length = received.map_err(other)?;
            match read(&buffer[..length], id) {
                Some(Read::Cut) => {
                    *over_tcp = true;
                    let longer = timeout(TRY, by_tcp(to, &question)).await;
                    let longer = longer.map_err(|_| DnsFailure::Silent)?.map_err(other)?;
                    return match read(&longer, id) {
                        Some(Read::Answer(it)) => it,
                        _ => Err(DnsFailure::Other("its answer over TCP cannot be read".into())),
                    };
                }
                Some(Read::Answer(it)) => return it,
                None => {}
            }
        }
    }
    Err(DnsFailure::Silent)
}

fn open(to: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    tokio::net::UdpSocket::from_std(socket)
}

/// A number that nobody off the path can guess: std's hasher has a random key.
fn identifier() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(Instant::now()) as u16
}

fn question(id: u16, name: &str, v6: bool) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let kind = if v6 { TYPE::AAAA } else { TYPE::A };
    packet.questions.push(Question::new(Name::new(name).ok()?, kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().ok()
}

async fn by_tcp(to: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    let length = u16::try_from(question.len()).unwrap_or_default();
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

enum Read {
    Answer(Result<Vec<IpAddr>, DnsFailure>),
    Cut,
}

/// The address that a record holds; `None` for a record of another type.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum has every type of record")]
fn address(data: &RData<'_>) -> Option<IpAddr> {
    match data {
        RData::A(it) => Some(IpAddr::from(it.address.to_be_bytes())),
        RData::AAAA(it) => Some(IpAddr::from(it.address.to_be_bytes())),
        _ => None,
    }
}

/// Reads an answer; `None`: it is none to this question.
#[expect(clippy::wildcard_enum_match_arm, reason = "the last arm prints the code")]
fn read(octets: &[u8], id: u16) -> Option<Read> {
    let header = octets.get(..4)?;
    if header[..2] != id.to_be_bytes() || header[2] & 0x80 == 0 {
        return None;
    }
    // Before the rest is read, which may end in the middle of a record.
    if header[2] & 0x02 != 0 {
        return Some(Read::Cut);
    }
    let Ok(packet) = Packet::parse(octets) else {
        return Some(Read::Answer(Err(DnsFailure::Other("its answer cannot be read".into()))));
    };
    Some(Read::Answer(match packet.rcode() {
        RCODE::NoError => Ok(packet.answers.iter().filter_map(|record| address(&record.rdata)).collect()),
        RCODE::NameError => Err(DnsFailure::NxDomain),
        RCODE::ServerFailure => Err(DnsFailure::ServFail),
        RCODE::Refused => Err(DnsFailure::Refused),
        other => Err(DnsFailure::Other(format!("it answers {other:?}"))),
    }))
}

#[cfg(test)]
mod tests {
    use simple_dns::{ResourceRecord, rdata::A};

    use super::*;

    fn answer(id: u16, rcode: RCODE, flags: PacketFlag) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        packet.set_flags(flags);
        *packet.rcode_mut() = rcode;
        let name = Name::new("a.example").expect("a name");
        packet.answers.push(ResourceRecord::new(name, CLASS::IN, 60, RData::A(A { address: 0xc000_0201 })));
        packet.build_bytes_vec().expect("it can be written")
    }

    fn result(octets: &[u8]) -> Option<Result<Vec<IpAddr>, DnsFailure>> {
        read(octets, 7).map(|it| match it {
            Read::Answer(it) => it,
            Read::Cut => Err(DnsFailure::Other("cut".into())),
        })
    }

    #[test]
    fn answers_are_read_as_what_they_are() {
        let none = PacketFlag::empty();
        let address: IpAddr = [192, 0, 2, 1].into();
        assert_eq!(result(&answer(7, RCODE::NoError, none)), Some(Ok(vec![address])));
        assert_eq!(result(&answer(8, RCODE::NoError, none)), None, "another question's");
        assert_eq!(result(&question(7, "a.example", false).expect("a question")), None, "a question");
        assert_eq!(result(&answer(7, RCODE::NameError, none)), Some(Err(DnsFailure::NxDomain)));
        assert_eq!(result(&answer(7, RCODE::ServerFailure, none)), Some(Err(DnsFailure::ServFail)));
        let cut = answer(7, RCODE::NoError, PacketFlag::TRUNCATION);
        assert_eq!(result(&cut[..13]), Some(Err(DnsFailure::Other("cut".into()))));
        let whole = answer(7, RCODE::NoError, none);
        assert!(matches!(result(&whole[..whole.len() - 1]), Some(Err(DnsFailure::Other(_)))));
        assert_eq!(result(&[]), None);
    }

    #[test]
    fn what_is_no_name_is_not_asked() {
        assert!(question(1, &"a".repeat(64), false).is_none());
        assert!(question(1, "a.example", true).is_some_and(|it| it.ends_with(&[0, 0, 28, 0, 1])));
    }
}
