//! A conversation with the server: greeting, TLS, authentication, then one transaction after another.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use secrecy::ExposeSecret;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::{
    compose::Letter,
    config::{Auth, Config, Credentials, Patience, Tls},
    errors::{Failure, Stage, Trouble},
    reply::Reply,
    wire::{Clock, Wire},
};
use crate::contract::{Fault, SendError};

/// What the server can do (RFC 5321 section 4.1.1.1).
#[derive(Default)]
struct Abilities {
    starttls: bool,
    /// RFC 2920.
    pipelining: bool,
    /// RFC 6531.
    utf8: bool,
    /// RFC 1870: the most bytes it takes; `Some(0)` when it names no limit.
    size: Option<u64>,
    plain: bool,
    login: bool,
}

/// An open connection, ready for transactions.
pub(super) struct Session {
    wire: Wire,
    abilities: Abilities,
    patience: Patience,
    /// Transactions begun.
    pub(super) used: u32,
    /// Since when it waits.
    pub(super) idle_since: Instant,
    /// The server expects a new transaction; false when it is unknown what it expects.
    pub(super) reusable: bool,
}

impl Session {
    /// Connects, secures and authenticates.
    pub(super) async fn open(
        config: &Config,
        tls: Option<&TlsConnector>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let patience = config.patience;
        let connecting = Wire::connect(&config.host, config.port);
        let wire = clock.within(patience.connect, connecting).await.map_err(at(Stage::Connect))?;
        let wire = match tls {
            Some(tls) if config.tls == Tls::Implicit => {
                let securing = wire.secure(tls, &config.host);
                clock.within(patience.connect, securing).await.map_err(at(Stage::Secure))?
            }
            _ => wire,
        };
        let abilities = Abilities::default();
        let idle_since = Instant::now();
        let mut session = Self { wire, abilities, patience, used: 0, idle_since, reusable: true };
        let name = config.hello_name.clone().unwrap_or_else(|| session.wire.literal());
        let greeting = clock.within(patience.command, session.wire.reply()).await;
        expect(greeting, 220).map_err(at(Stage::Greeting))?;
        session.hello(&name, clock).await.map_err(at(Stage::Greeting))?;
        if let Some(tls) = tls.filter(|_| config.tls == Tls::Starttls) {
            session = session.starttls(tls, &config.host, clock).await.map_err(at(Stage::Secure))?;
            session.hello(&name, clock).await.map_err(at(Stage::Greeting))?;
        }
        if let Some(credentials) = &config.credentials {
            session.authenticate(credentials, clock).await.map_err(at(Stage::Auth))?;
        }
        Ok(session)
    }

    async fn ask(&mut self, command: &str, clock: Clock) -> Result<Reply, Trouble> {
        clock.within(self.patience.command, self.wire.ask(command)).await
    }

    async fn hello(&mut self, name: &str, clock: Clock) -> Result<(), Trouble> {
        let reply = self.ask(&format!("EHLO {name}"), clock).await?;
        if matches!(reply.code, 500 | 502 | 504) {
            // A server from before RFC 1869.
            self.abilities = Abilities::default();
            return expect(self.ask(&format!("HELO {name}"), clock).await, 250).map(drop);
        }
        let reply = expect(Ok(reply), 250)?;
        self.abilities = Abilities::read(&reply);
        Ok(())
    }

    async fn starttls(mut self, tls: &TlsConnector, host: &str, clock: Clock) -> Result<Self, Trouble> {
        if !self.abilities.starttls {
            let detail = "the server offers no STARTTLS, and this provider never sends in clear";
            return Err(Trouble::Unfit(SendError::new(Fault::Transient, detail).code("tls")));
        }
        expect(self.ask("STARTTLS", clock).await, 220)?;
        self.wire = clock.within(self.patience.connect, self.wire.secure(tls, host)).await?;
        Ok(self)
    }

    async fn authenticate(&mut self, credentials: &Credentials, clock: Clock) -> Result<(), Trouble> {
        let Abilities { plain, login, .. } = self.abilities;
        let (username, password) = (&credentials.username, credentials.password.expose_secret());
        match credentials.auth {
            None | Some(Auth::Plain) if plain => {
                let response = BASE64.encode(format!("\0{username}\0{password}"));
                expect(self.ask(&format!("AUTH PLAIN {response}"), clock).await, 235)?;
            }
            None | Some(Auth::Login) if login => {
                expect(self.ask("AUTH LOGIN", clock).await, 334)?;
                expect(self.ask(&BASE64.encode(username), clock).await, 334)?;
                expect(self.ask(&BASE64.encode(password), clock).await, 235)?;
            }
            wanted => {
                let wanted = wanted.map_or("AUTH PLAIN or LOGIN", |auth| match auth {
                    Auth::Plain => "AUTH PLAIN",
                    Auth::Login => "AUTH LOGIN",
                });
                let detail = format!("the server offers no {wanted} on this connection");
                return Err(Trouble::Unfit(SendError::new(Fault::Unauthorized, detail).code("auth")));
            }
        }
        Ok(())
    }

    /// Hands over one message. After an error [`Session::reusable`] tells whether the connection can go on.
    pub(super) async fn transact(&mut self, letter: &Letter, clock: Clock) -> Result<Reply, Failure> {
        let mail = self.mail_command(letter).map_err(at(Stage::Mail))?;
        self.reusable = false;
        self.used += 1;
        if let Err(failure) = self.envelope(&mail, &letter.to, clock).await? {
            self.reset(clock).await;
            return Err(failure);
        }
        let message = letter.on_the_wire();
        let writing = clock.within(self.patience.data, self.wire.write(&message)).await;
        if let Err(mut trouble) = writing {
            if matches!(trouble, Trouble::Lost(_)) {
                // A server that gives up in the middle often says why before it closes.
                let last_word = clock.within(Duration::from_secs(1), self.wire.reply()).await;
                trouble = last_word.map_or(trouble, Trouble::Refused);
            }
            return Err(Failure { stage: Stage::Body, trouble });
        }
        let reply = clock.within(self.patience.data, self.wire.reply()).await.map_err(at(Stage::Answer))?;
        self.reusable = reply.code != 421;
        if reply.is_positive() { Ok(reply) } else { Err(refused(Stage::Answer, reply)) }
    }

    /// MAIL, RCPT and DATA: in one packet when the server allows it. The outer error means that the connection is of no
    /// further use, the inner one that the server refused.
    async fn envelope(&mut self, mail: &str, to: &str, clock: Clock) -> Result<Result<(), Failure>, Failure> {
        let rcpt = format!("RCPT TO:<{to}>");
        let commands = [(Stage::Mail, mail), (Stage::Recipient, &rcpt), (Stage::Data, "DATA")];
        if self.abilities.pipelining {
            let packet = commands.map(|(_, command)| command).join("\r\n") + "\r\n";
            let writing = clock.within(self.patience.command, self.wire.write(packet.as_bytes()));
            writing.await.map_err(at(Stage::Mail))?;
        }
        let mut first = None;
        for (stage, command) in commands {
            let reply = if self.abilities.pipelining {
                clock.within(self.patience.command, self.wire.reply()).await
            } else {
                self.ask(command, clock).await
            };
            let reply = reply.map_err(at(stage))?;
            let taken = if stage == Stage::Data { reply.code == 354 } else { reply.is_positive() };
            if stage == Stage::Data && taken && first.is_some() {
                // It would take a message that has no recipient: leave before there is one.
                return Err(first.take().unwrap_or_else(|| refused(stage, reply)));
            }
            if !taken {
                let closing = reply.code == 421;
                let failure = first.take().unwrap_or_else(|| refused(stage, reply));
                if closing {
                    return Err(failure);
                }
                if !self.abilities.pipelining || stage == Stage::Data {
                    return Ok(Err(failure));
                }
                first = Some(failure);
            }
        }
        Ok(Ok(()))
    }

    fn mail_command(&self, letter: &Letter) -> Result<String, Trouble> {
        let mut command = format!("MAIL FROM:<{}>", letter.from);
        if let Some(limit) = self.abilities.size {
            let size = letter.size();
            if limit > 0 && size > limit {
                let detail =
                    format!("the message has {size} bytes and the server takes at most {limit} (RFC 1870)");
                return Err(Trouble::Unfit(SendError::new(Fault::Rejected, detail).code("5.3.4")));
            }
            command.push_str(&format!(" SIZE={size}"));
        }
        if letter.needs_utf8() {
            if !self.abilities.utf8 {
                let detail = "the address has letters that are not ASCII before the @, and the server does not offer SMTPUTF8";
                return Err(Trouble::Unfit(SendError::new(Fault::BadRecipient, detail).code("5.6.7")));
            }
            command.push_str(" BODY=8BITMIME SMTPUTF8");
        }
        Ok(command)
    }

    /// Ends a transaction that was refused, so that the connection can be kept.
    async fn reset(&mut self, clock: Clock) {
        let resetting = clock.within(Duration::from_secs(5), self.wire.ask("RSET"));
        self.reusable = resetting.await.is_ok_and(|reply| reply.is_positive());
    }

    /// Whether the server still seems to be there. Asks nothing.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.wire.is_quiet()
    }

    /// Says goodbye and closes.
    pub(super) fn leave(self) {
        self.wire.leave();
    }

    /// Says goodbye and waits for the answer.
    pub(super) async fn quit(mut self, clock: Clock) {
        let _ = clock.within(Duration::from_secs(5), self.wire.ask("QUIT")).await;
    }
}

impl Abilities {
    fn read(reply: &Reply) -> Self {
        let mut abilities = Self::default();
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            // Old servers write AUTH=LOGIN.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("STARTTLS") => abilities.starttls = true,
                Some("PIPELINING") => abilities.pipelining = true,
                Some("SMTPUTF8") => abilities.utf8 = true,
                Some("SIZE") => {
                    abilities.size = Some(words.next().and_then(|word| word.parse().ok()).unwrap_or(0));
                }
                Some("AUTH") => {
                    for word in words {
                        abilities.plain |= word == "PLAIN";
                        abilities.login |= word == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        abilities
    }
}

fn at(stage: Stage) -> impl Fn(Trouble) -> Failure {
    move |trouble| Failure { stage, trouble }
}

fn refused(stage: Stage, reply: Reply) -> Failure {
    Failure { stage, trouble: Trouble::Refused(reply) }
}

fn expect(reply: Result<Reply, Trouble>, code: u16) -> Result<Reply, Trouble> {
    match reply? {
        reply if reply.code == code => Ok(reply),
        reply if matches!(reply.code / 100, 4 | 5) => Err(Trouble::Refused(reply)),
        _ => Err(Trouble::Garbled("gave an answer that the protocol does not allow")),
    }
}
