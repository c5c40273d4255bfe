//! `hly`: the server and its command line.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use async_trait::async_trait;
use headlessly_communication::{
    api::ServeError,
    app::{self, App, Desk, StartError},
    cli::{self, Exit, Failure, Flaw, Host, Part, Started, Tables},
    config::Config,
    store::{Defect, postgres, sqlite::OpenError},
};
use tokio::signal::unix::{SignalKind, signal};

/// Many small allocations from a few threads, some freed by another than made them: the system's allocator costs a third of the
/// rate of accepted messages here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything can open a TLS connection. It fails only when there is a provider already, which then serves.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::main(&Program)
}

struct Program;

#[async_trait(?Send)]
impl Host for Program {
    async fn serve(&self, config: Config) -> Result<(), Failure> {
        serve(config).await
    }

    async fn tables(&self, config: &Config) -> Result<Tables, Failure> {
        let schema = app::schema(config).await.map_err(failure)?;
        Ok(Tables { has: schema.has, wants: schema.wants })
    }

    async fn migrate(&self, config: &Config) -> Result<(), Failure> {
        let store = app::open(config).await.map_err(failure)?;
        store.close().await;
        Ok(())
    }

    async fn examine(&self, config: &Config, repair: bool) -> Result<Vec<Flaw>, Failure> {
        let defects = app::examine(config, repair).await.map_err(failure)?;
        let flaw = |defect: Defect| Flaw {
            text: if defect.count == 1 { defect.text } else { format!("{}: {}", defect.count, defect.text) },
            repaired: defect.repaired,
        };
        Ok(defects.into_iter().map(flaw).collect())
    }

    async fn start(&self, config: Config, part: Part) -> Result<Started, Failure> {
        match part {
            Part::Whole => {
                let app = App::start(&config).await.map_err(failure)?;
                Ok(Started { api: app.api, waiting: None, stop: Box::pin(app.stop()) })
            }
            Part::Desk => {
                let desk = Desk::open(&config).await.map_err(failure)?;
                Ok(Started { api: desk.api, waiting: Some(desk.waiting), stop: Box::pin(desk.close()) })
            }
        }
    }
}

/// Runs the server until SIGTERM or SIGINT; a second signal ends it at once.
async fn serve(config: Config) -> Result<(), Failure> {
    let system = |error: io::Error| Failure::new(Exit::System, error.to_string());
    let (mut term, mut int) =
        (signal(SignalKind::terminate()).map_err(system)?, signal(SignalKind::interrupt()).map_err(system)?);
    // A file that may not grow is an error of the write, as a full disk is; without this the signal ends the process.
    let _room = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map_err(system)?;
    let app = App::start(&config).await.map_err(failure)?;
    welcome(&app, &config).ok();
    let broken = app.broken();
    let disk = || {
        let text = "the disk did not keep a write; start again: only that shows what it holds";
        Failure::new(Exit::Io, text)
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = broken.cancelled() => return Err(disk()),
    }
    tracing::info!("stopping: hand-offs under way may end");
    tokio::select! {
        () = app.stop() => tracing::info!("stopped"),
        _ = term.recv() => return Err(Failure::quiet(Exit::Terminated)),
        _ = int.recv() => return Err(Failure::quiet(Exit::Interrupted)),
    }
    if broken.is_cancelled() { Err(disk()) } else { Ok(()) }
}

fn failure(error: StartError) -> Failure {
    let exit = match &error {
        StartError::Open(OpenError::Locked(_)) => Exit::TryAgain,
        StartError::Open(OpenError::Io(..)) | StartError::Listen(ServeError::Bind { .. }) => Exit::System,
        StartError::Open(OpenError::Database(..)) | StartError::Store(_) => Exit::Data,
        StartError::Database(postgres::OpenError::Unreachable(_) | postgres::OpenError::Busy) => {
            Exit::TryAgain
        }
        StartError::Database(_)
        | StartError::Open(OpenError::Newer(..))
        | StartError::Provider(..)
        | StartError::Insecure(_)
        | StartError::Tls(..)
        | StartError::Listen(ServeError::Tls(_)) => Exit::Config,
    };
    Failure::new(exit, error.to_string())
}

/// What listens where, and a first call to paste.
fn welcome(app: &App, config: &Config) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let providers: Vec<String> =
        config.providers.iter().map(|provider| format!("{} ({})", provider.name, provider.kind)).collect();
    let scheme = if config.api.tls().is_some() { "https" } else { "http" };
    writeln!(out, "hly {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  API        {scheme}://{}  gRPC, gRPC-Web, /metrics, /healthz, /readyz", app.api)?;
    writeln!(out, "  edge       http://{}  POST /webhooks/<provider>", app.edge)?;
    writeln!(out, "  store      {}", config.store.shown())?;
    writeln!(out, "  providers  {}", providers.join(", "))?;
    if config.api.keys_required() {
        writeln!(out, "Every call needs an API key: hly keys create NAME")?;
    } else {
        writeln!(out, "Send a first message:")?;
        writeln!(
            out,
            r#"  grpcurl -plaintext -d '{{"message": {{"channel": "EMAIL", "sender": "contact_k7TmPvQx", "recipient": "contact_fX9bL5nRd", "subject": "Welcome", "body": "Welcome to Acme! Your account is ready."}}, "wait_until": "DELIVERED"}}' {} headlessly.communication.v1.MessageService/Send"#,
            app.api
        )?;
        writeln!(out, "or  hly send --to contact_fX9bL5nRd --body 'Welcome to Acme!' --wait delivered")?;
    }
    out.flush()
}
