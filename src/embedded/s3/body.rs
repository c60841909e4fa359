//! Bodies on their way into the store and out of it.

use super::{
    refused,
    store::{Piece, Room},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use s3s::{
    S3Error, S3ErrorCode, S3Result, StdError,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Md5},
    dto::{Checksum, ChecksumAlgorithm, StreamingBlob},
    s3_error,
    stream::{ByteStream, RemainingLength},
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A body that has arrived whole, with its sums.
pub(super) struct Arrived {
    pub piece: Piece,
    pub md5: [u8; 16],
    pub checksum: Checksum,
}

/// Reads a body to its end, within its limits.
///
/// # Errors
/// A body that breaks off, that is too large, or that finds the store full.
pub(super) async fn read(
    body: Option<StreamingBlob>,
    mut room: Room,
    mut hasher: ChecksumHasher,
) -> S3Result<Arrived> {
    let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let mut md5 = Md5::new();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk =
            chunk.map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?;
        room.grow(chunk.len() as u64).map_err(refused)?;
        md5.update(&chunk);
        hasher.update(&chunk);
        bytes.extend_from_slice(&chunk);
    }
    Ok(Arrived {
        piece: Piece::new(bytes.freeze(), room),
        md5: md5.finalize(),
        checksum: hasher.finalize(),
    })
}

/// A hasher for the sums that a request carries (`stated`) or promises in a trailer (`promised`).
///
/// # Errors
/// An algorithm that this server does not know.
pub(super) fn hasher(
    stated: &Checksum,
    promised: Option<&ChecksumAlgorithm>,
) -> S3Result<ChecksumHasher> {
    let mut hasher = ChecksumHasher::default();
    let promised = promised.map_or("", ChecksumAlgorithm::as_str);
    let wants = |stated: &Option<String>, name: &str| stated.is_some() || promised == name;
    if wants(&stated.checksum_crc32, ChecksumAlgorithm::CRC32) {
        hasher.crc32 = Some(Default::default());
    }
    if wants(&stated.checksum_crc32c, ChecksumAlgorithm::CRC32C) {
        hasher.crc32c = Some(Default::default());
    }
    if wants(&stated.checksum_sha1, ChecksumAlgorithm::SHA1) {
        hasher.sha1 = Some(Default::default());
    }
    if wants(&stated.checksum_sha256, ChecksumAlgorithm::SHA256) {
        hasher.sha256 = Some(Default::default());
    }
    if wants(&stated.checksum_crc64nvme, ChecksumAlgorithm::CRC64NVME) {
        hasher.crc64nvme = Some(Default::default());
    }
    let known = [
        "",
        ChecksumAlgorithm::CRC32,
        ChecksumAlgorithm::CRC32C,
        ChecksumAlgorithm::SHA1,
        ChecksumAlgorithm::SHA256,
        ChecksumAlgorithm::CRC64NVME,
    ];
    if known.contains(&promised) {
        Ok(hasher)
    } else {
        Err(s3_error!(
            InvalidRequest,
            "checksum algorithm {promised} is not supported"
        ))
    }
}

/// Holds the sums of what arrived against those that the request stated, in headers or trailers.
///
/// # Errors
/// `BadDigest`: nothing is stored then.
pub(super) fn verify(
    arrived: &Checksum,
    stated: &Checksum,
    trailers: Option<&http::HeaderMap>,
) -> S3Result<()> {
    let trailer = |name: &str| {
        let value = trailers?.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let pairs = [
        (
            &arrived.checksum_crc32,
            &stated.checksum_crc32,
            "x-amz-checksum-crc32",
        ),
        (
            &arrived.checksum_crc32c,
            &stated.checksum_crc32c,
            "x-amz-checksum-crc32c",
        ),
        (
            &arrived.checksum_sha1,
            &stated.checksum_sha1,
            "x-amz-checksum-sha1",
        ),
        (
            &arrived.checksum_sha256,
            &stated.checksum_sha256,
            "x-amz-checksum-sha256",
        ),
        (
            &arrived.checksum_crc64nvme,
            &stated.checksum_crc64nvme,
            "x-amz-checksum-crc64nvme",
        ),
    ];
    for (arrived, stated, name) in pairs {
        let stated = trailer(name).or_else(|| stated.clone());
        if stated.is_some() && *arrived != stated {
            return Err(s3_error!(
                BadDigest,
                "The {name} you specified did not match the calculated checksum."
            ));
        }
    }
    Ok(())
}

/// Bytes on their way out, with their exact length.
pub(super) struct Outgoing {
    slices: std::vec::IntoIter<Bytes>,
    left: usize,
}

impl Outgoing {
    pub(super) fn new(slices: Vec<Bytes>) -> Self {
        let left = slices.iter().map(Bytes::len).sum();
        Self {
            slices: slices.into_iter(),
            left,
        }
    }
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.slices.next();
        self.left -= next.as_ref().map_or(0, Bytes::len);
        Poll::Ready(next.map(Ok))
    }
}

impl ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.left)
    }
}
