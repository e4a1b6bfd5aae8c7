//! The handshake of a lane: TLS 1.3, AES-128-GCM first, both ends with libp2p's certificate.
//!
//! The certificate is self-signed and carries the peer's own key with its signature (libp2p's TLS specification), so it
//! proves the peer id. The handshake accepts any peer id; the caller compares it afterwards, before it sends anything.

use std::io;
use std::sync::Arc;

use libp2p::identity::Keypair;
use libp2p::tls::certificate;
use reg_proto::lane::LANE_PROTOCOL;
use reg_proto::peer::PeerId;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};

use super::error::LaneError;
use crate::net::links::from_libp2p;

/// The signature scheme of the certificates that libp2p generates.
const SCHEMES: [SignatureScheme; 1] = [SignatureScheme::ECDSA_NISTP256_SHA256];

/// Returns the configurations of both ends, with one certificate for as long as the node runs.
pub(super) fn configs(keypair: &Keypair) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Error> {
    let failed = |error: certificate::GenError| Error::General(error.to_string());
    let (certificate, key) = certificate::generate(keypair).map_err(failed)?;
    let key = aws_lc_rs::sign::any_ecdsa_type(&key)?;
    let own = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)));
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    });
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyPeer))
        .with_client_cert_resolver(own.clone());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyPeer))
        .with_cert_resolver(own);
    client.alpn_protocols = vec![LANE_PROTOCOL.to_vec()];
    server.alpn_protocols = vec![LANE_PROTOCOL.to_vec()];
    client.enable_sni = false;
    // No session is resumed and the server sends no tickets, so that only this protocol's records follow the handshake.
    client.resumption = Resumption::disabled();
    server.send_tls13_tickets = 0;
    client.enable_secret_extraction = true;
    server.enable_secret_extraction = true;
    Ok((Arc::new(client), Arc::new(server)))
}

/// Returns the peer id of the other end after the handshake.
///
/// # Errors
/// Fails where the other end did not choose the protocol of lanes, or its certificate proves no peer id.
pub(super) fn peer_of(connection: &CommonState) -> Result<PeerId, LaneError> {
    if connection.alpn_protocol() != Some(LANE_PROTOCOL) {
        return Err(LaneError::OtherProtocol);
    }
    let certificate = connection.peer_certificates().and_then(<[_]>::first).ok_or(LaneError::OtherPeer)?;
    let parsed =
        certificate::parse(certificate).map_err(|error| LaneError::Handshake(io::Error::other(error)))?;
    from_libp2p(&parsed.peer_id()).ok_or(LaneError::OtherPeer)
}

/// Verifies certificates at both ends: accepts every one that proves a peer id.
#[derive(Debug)]
struct AnyPeer;

fn check(certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
    if !others.is_empty() {
        return Err(Error::General("more than one certificate".to_owned()));
    }
    certificate::parse(certificate)?;
    Ok(())
}

/// The methods that [`ServerCertVerifier`] and [`ClientCertVerifier`] have in common: they verify the handshake's
/// signature with the key in the certificate.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2 is not supported".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            certificate::parse(certificate)?.verify_signature(signed.scheme, message, signed.signature())?;
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            SCHEMES.to_vec()
        }
    };
}

impl ServerCertVerifier for AnyPeer {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check(certificate, others).map(|()| ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for AnyPeer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check(certificate, others).map(|()| ClientCertVerified::assertion())
    }

    signatures!();
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A client and a server, each with a key of its own.
    pub(in crate::net::lane) fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        let of = |seed| super::configs(&Keypair::ed25519_from_bytes([seed; 32]).unwrap()).unwrap();
        (of(1).0, of(2).1)
    }
}
