//! TLS: the servers' authority, our certificate, HTTP/2. The one provider of cryptography is ring.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{Pem, Words};
use crate::{Error, Result};

/// Where systems keep the authorities that they trust, all in one file.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Whom we trust, and who we are.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// Who signed the servers' certificates; the system's authorities if not given.
    pub authority: Option<&'a Pem>,
    /// Our certificate and its key.
    pub certificate: Option<&'a (Pem, Pem)>,
    /// The name that the server's certificate has to have, if it isn't the one that it is called by.
    pub server_name: Option<&'a str>,
    /// Whether anybody is trusted who says to be the server.
    pub anybody: bool,
}

/// Makes TLS of TCP.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    server_name: Option<String>,
}

impl Tls {
    /// TLS with the server that is called `host`, on a connection to it.
    ///
    /// # Errors
    /// What went wrong; a name that can't be one is that too.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
        self.connector.connect(name, stream).await
    }
}

/// What is needed to speak TLS with the servers.
///
/// # Errors
/// [`Error::Unavailable`] if a file can't be read or isn't what it should be.
pub fn connector(trust: Trust<'_>, words: Words) -> Result<Tls> {
    let Words { name: service, authority: hint, .. } = words;
    let mut roots = RootCertStore::empty();
    for certificate in authorities(trust.authority, service)? {
        // One of the system's that can't be read is none of ours; ours are counted below.
        drop(roots.add(certificate));
    }
    if roots.is_empty() && !trust.anybody {
        let attempt = format!("read the authority that signed {service}'s certificates");
        return Err(Error::unavailable(attempt, format!("found no certificate; {hint}")));
    }
    let provider = Arc::new(ring::default_provider());
    let refused =
        |error: tokio_rustls::rustls::Error| Error::unavailable(format!("prepare TLS for {service}"), error);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots);
    let mut config = match trust.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (chain, key) = (certificates(certificate, service)?, private_key(key, service)?);
            builder.with_client_auth_cert(chain, key).map_err(refused)?
        }
    };
    if trust.anybody {
        config.dangerous().set_certificate_verifier(Arc::new(Anybody(ring::default_provider())));
    }
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Tls {
        connector: TlsConnector::from(Arc::new(config)),
        server_name: trust.server_name.map(str::to_owned),
    })
}

fn authorities(given: Option<&Pem>, service: &str) -> Result<Vec<CertificateDer<'static>>> {
    if let Some(pem) = given {
        return certificates(pem, service);
    }
    let bundle = BUNDLES.iter().find(|path| std::path::Path::new(path).exists());
    bundle.map_or(Ok(Vec::new()), |path| certificates(&Pem::File(path.into()), service))
}

fn certificates(pem: &Pem, service: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = text(pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let unreadable =
        |cause: String| Error::unavailable(format!("read {}", name(pem, "certificate", service)), cause);
    match found {
        Ok(found) if found.is_empty() => Err(unreadable("there is no certificate in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn private_key(pem: &Pem, service: &str) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&text(pem)?)
        .map_err(|error| Error::unavailable(format!("read {}", name(pem, "key", service)), error))
}

fn text(pem: &Pem) -> Result<Vec<u8>> {
    match pem {
        Pem::Text(text) => Ok(text.clone().into_bytes()),
        Pem::File(path) => {
            std::fs::read(path).map_err(|error| Error::unavailable(format!("read {}", path.display()), error))
        }
    }
}

fn name(pem: &Pem, what: &str, service: &str) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Text(_) => format!("the {what} for {service} in the settings"),
    }
}

/// Takes any certificate, as the settings say.
#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, tokio_rustls::rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
