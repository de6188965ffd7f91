//! The same vendors behind TLS, as they are out there: whose certificate is believed, and what
//! `sidetone check` says where it is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::support::process::{Said, run_with};
use super::vendor::{Kind, Vendor};

/// A certificate authority of our own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = folder.join(name);
        std::fs::write(&pem, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server's side, with a certificate for `host`.
    fn acceptor(&self, host: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap()))
    }
}

/// Puts TLS before the server at `address`; gives the port.
async fn in_front_of(address: String, acceptor: TlsAcceptor) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, address) = (acceptor.clone(), address.clone());
            tokio::spawn(async move {
                // A client that does not believe us hangs up; that is what is tried.
                let Ok(mut inside) = acceptor.accept(socket).await else { return };
                let mut vendor = TcpStream::connect(address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut vendor).await;
            });
        }
    });
    port
}

/// What `sidetone check` says of a vendor behind `port`, believing `authority` alone.
async fn checked(vendor: &Vendor, port: u16, authority: &Authority) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let name = vendor.inner.kind().name();
    let mut table = vendor.table("");
    let plain: reqwest::Url = table["url"].as_str().unwrap().parse().unwrap();
    let scheme = if plain.scheme() == "http" { "https" } else { "wss" };
    table.insert("url".to_owned(), format!("{scheme}://localhost:{port}{}", plain.path()).into());
    let config = format!(
        "[asr]\nbackend = \"{name}\"\n[asr.{name}]\n{table}\n[server]\nlisten = \"127.0.0.1:0\"\n[sink.spool]\nmode = \"off\"\n"
    );
    std::fs::write(folder.path().join("sidetone.toml"), config).unwrap();
    let authorities = authority.pem.clone();
    let arguments = ["check", "--config", "sidetone.toml"];
    run_with(folder.path(), &arguments, |command| {
        command.env("SSL_CERT_FILE", authorities);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_is_reached_over_tls_and_one_with_a_certificate_of_nobody_we_know_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let known = Authority::new(folder.path(), "known.pem");
    let stranger = Authority::new(folder.path(), "stranger.pem");
    for kind in Kind::ALL {
        let vendor = Vendor::start(kind, &[]).await;
        let address = vendor.address.to_string();
        let port = in_front_of(address.clone(), known.acceptor("localhost")).await;
        let said = checked(&vendor, port, &known).await;
        assert_eq!(said.code, Some(0), "{kind:?}: {said:?}");
        assert!(said.out.contains(&format!("ok   asr            {}: ", kind.name())), "{}", said.out);

        let said = checked(&vendor, port, &stranger).await;
        assert_eq!(said.code, Some(1), "{kind:?} believed anyone: {said:?}");
        assert!(said.out.contains("certificate is not trusted"), "{}", said.out);

        let port = in_front_of(address, known.acceptor("elsewhere.example")).await;
        let said = checked(&vendor, port, &known).await;
        assert_eq!(said.code, Some(1), "{kind:?} believed a certificate for another host: {said:?}");
        assert!(said.out.contains("certificate is not trusted"), "{}", said.out);
    }
}
