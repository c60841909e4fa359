//! An S3 server in memory: the protocol (routing, signatures, XML, chunked uploads) is the `s3s`
//! crate's, the operations are here, the objects in [`store`].
//!
//! It speaks path-style and, where a host suffix is given, virtual-host style; it checks AWS
//! signatures. It refuses to be a product: no versions, tags, ACLs or policies (NotImplemented),
//! nothing on disk, and the limits of [`store`].

mod body;
mod store;

use body::Outgoing;
use s3s::{
    S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    auth::{S3Auth, SecretKey},
    crypto::{Checksum as _, Md5},
    dto::*,
    host::{S3Host, VirtualHost},
    path::check_bucket_name,
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};
use std::{io, time::SystemTime};
use store::{Attributes, Listing, Object as Stored, Part as StoredPart, Refusal, Store};

/// Who may talk to the server.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

/// A server with these buckets.
///
/// # Errors
/// A bucket name that S3 would refuse, or the same one twice.
pub(super) fn service(
    credentials: Credentials,
    buckets: &[String],
    virtual_host: Option<String>,
) -> io::Result<S3Service> {
    let wrong = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
    let store = Store::default();
    for bucket in buckets {
        if !check_bucket_name(bucket) {
            return Err(wrong(format!("`{bucket}` is not a valid bucket name")));
        }
        if store.create_bucket(bucket).is_err() {
            return Err(wrong(format!("bucket `{bucket}` is named twice")));
        }
    }
    let mut builder = S3ServiceBuilder::new(Memory { store });
    builder.set_auth(credentials);
    if let Some(suffix) = virtual_host {
        builder.set_host(Suffix(suffix));
    }
    Ok(builder.build())
}

#[async_trait::async_trait]
impl S3Auth for Credentials {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            return Ok(SecretKey::from(self.secret_key.as_str()));
        }
        Err(s3_error!(
            InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records."
        ))
    }
}

/// Finds the bucket in front of a host name suffix; any other host means path style.
struct Suffix(String);

impl S3Host for Suffix {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let bucket = name
            .strip_suffix(self.0.as_str())
            .and_then(|name| name.strip_suffix('.'));
        Ok(match bucket {
            Some(bucket) => VirtualHost::new(self.0.as_str()).with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}

/// The operations over the store.
#[derive(Debug)]
struct Memory {
    store: Store,
}

/// A refusal in S3's words.
fn refused(refusal: Refusal) -> S3Error {
    match refusal {
        Refusal::NoSuchBucket => {
            s3_error!(NoSuchBucket, "The specified bucket does not exist")
        }
        Refusal::NoSuchKey => s3_error!(NoSuchKey, "The specified key does not exist."),
        Refusal::NoSuchUpload => s3_error!(
            NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
        ),
        Refusal::BucketExists => s3_error!(
            BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it."
        ),
        Refusal::BucketNotEmpty => s3_error!(
            BucketNotEmpty,
            "The bucket you tried to delete is not empty"
        ),
        Refusal::PreconditionFailed => s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        ),
        Refusal::InvalidPart => s3_error!(
            InvalidPart,
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
        ),
        Refusal::InvalidPartOrder => s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number."
        ),
        Refusal::PartTooSmall => s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ),
        Refusal::ObjectTooLarge => s3_error!(
            EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size"
        ),
        Refusal::Full => full(),
    }
}

/// S3 has no word for a full store; this one cannot be mistaken for an injected fault.
fn full() -> S3Error {
    let mut error = S3Error::with_message(
        S3ErrorCode::Custom("EmbeddedStoreFull".into()),
        "The embedded store has reached its limit.",
    );
    error.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
    error
}

fn answer<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

fn strong(etag: &str) -> Option<ETag> {
    Some(ETag::Strong(etag.to_owned()))
}

fn size(length: u64) -> Option<i64> {
    i64::try_from(length).ok()
}

/// Whether an object (or its absence) is what the conditions ask for.
fn holds(condition: &ETagCondition, object: Option<&Stored>) -> bool {
    match (condition, object) {
        (_, None) => false,
        (ETagCondition::Any, Some(_)) => true,
        (ETagCondition::ETag(etag), Some(object)) => etag.value() == object.etag,
    }
}

fn may_write(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> impl FnOnce(Option<&Stored>) -> bool {
    move |object| {
        if_match.is_none_or(|condition| holds(&condition, object))
            && if_none_match.is_none_or(|condition| !holds(&condition, object))
    }
}

/// The conditions of a read, in S3's order of precedence.
struct ReadIf<'a> {
    matches: Option<&'a ETagCondition>,
    none_match: Option<&'a ETagCondition>,
    modified_since: Option<&'a Timestamp>,
    unmodified_since: Option<&'a Timestamp>,
}

impl ReadIf<'_> {
    /// # Errors
    /// `PreconditionFailed`, or `NotModified`.
    fn check(&self, object: &Stored) -> S3Result<()> {
        // HTTP dates have whole seconds.
        let modified = |since: &Timestamp| whole_seconds(object.modified) > *since;
        let refused_by_match = match (self.matches, self.unmodified_since) {
            (Some(condition), _) => !holds(condition, Some(object)),
            (None, Some(since)) => modified(since),
            (None, None) => false,
        };
        if refused_by_match {
            return Err(refused(Refusal::PreconditionFailed));
        }
        let unchanged = match (self.none_match, self.modified_since) {
            (Some(condition), _) => holds(condition, Some(object)),
            (None, Some(since)) => !modified(since),
            (None, None) => false,
        };
        if unchanged {
            return Err(s3_error!(NotModified));
        }
        Ok(())
    }
}

fn whole_seconds(time: SystemTime) -> Timestamp {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs()))
}

/// The MD5 that a request stated must be that of what arrived.
fn verify_md5(stated: Option<&str>, arrived: &body::Arrived) -> S3Result<()> {
    let Some(stated) = stated else { return Ok(()) };
    if stated == base64(&arrived.md5) {
        return Ok(());
    }
    Err(s3_error!(
        BadDigest,
        "The Content-MD5 you specified did not match what we received."
    ))
}

/// Standard base64 with padding, of the 16 bytes of an MD5.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) & 0x3f;
            text.push(if place <= chunk.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

fn source(copy: &CopySource) -> S3Result<(&str, &str)> {
    match copy {
        CopySource::Bucket { bucket, key, .. } => Ok((bucket, key)),
        _ => Err(s3_error!(NotImplemented, "only buckets can be copied from")),
    }
}

/// One page's keys and prefixes in the protocol's shape.
fn page(listing: Listing) -> (Vec<Object>, Vec<CommonPrefix>) {
    let objects = listing
        .objects
        .into_iter()
        .map(|(key, object)| Object {
            key: Some(key),
            size: size(object.length),
            e_tag: strong(&object.etag),
            last_modified: Some(Timestamp::from(object.modified)),
            storage_class: Some(ObjectStorageClass::from_static(
                ObjectStorageClass::STANDARD,
            )),
            ..Object::default()
        })
        .collect();
    let prefixes = listing
        .prefixes
        .into_iter()
        .map(|prefix| CommonPrefix {
            prefix: Some(prefix),
        })
        .collect();
    (objects, prefixes)
}

/// The most keys a page holds, as on S3.
const PAGE_MAX: i32 = 1000;

fn page_limit(asked: Option<i32>) -> usize {
    usize::try_from(asked.unwrap_or(PAGE_MAX).clamp(0, PAGE_MAX)).unwrap_or_default()
}

/// The head of an object, for HEAD and GET alike.
fn head(object: &Stored) -> HeadObjectOutput {
    let attributes = object.attributes.clone();
    let checksum = object.checksum.clone();
    HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: size(object.length),
        content_type: attributes
            .content_type
            .or_else(|| Some("binary/octet-stream".to_owned())),
        content_encoding: attributes.content_encoding,
        content_disposition: attributes.content_disposition,
        content_language: attributes.content_language,
        cache_control: attributes.cache_control,
        expires: attributes.expires,
        website_redirect_location: attributes.website_redirect_location,
        metadata: attributes.metadata,
        e_tag: strong(&object.etag),
        last_modified: Some(Timestamp::from(object.modified)),
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        checksum_type: checksum.checksum_type,
        ..HeadObjectOutput::default()
    }
}

#[async_trait::async_trait]
impl S3 for Memory {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = request.input.bucket;
        self.store.create_bucket(&bucket).map_err(refused)?;
        answer(CreateBucketOutput {
            location: Some(format!("/{bucket}")),
        })
    }

    async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.store
            .delete_bucket(&request.input.bucket)
            .map_err(refused)?;
        answer(DeleteBucketOutput::default())
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.store
            .bucket_exists(&request.input.bucket)
            .map_err(refused)?;
        answer(HeadBucketOutput::default())
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.store
            .bucket_exists(&request.input.bucket)
            .map_err(refused)?;
        answer(GetBucketLocationOutput::default())
    }

    async fn list_buckets(
        &self,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let buckets = self.store.buckets().into_iter();
        let buckets = buckets.map(|(name, created)| Bucket {
            name: Some(name),
            creation_date: Some(Timestamp::from(created)),
            ..Bucket::default()
        });
        answer(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            ..ListBucketsOutput::default()
        })
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let trailers = request.trailing_headers;
        let input = request.input;
        self.store.bucket_exists(&input.bucket).map_err(refused)?;
        let stated = Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            checksum_type: None,
        };
        let hasher = body::hasher(&stated, input.checksum_algorithm.as_ref())?;
        let arrived = body::read(input.body, self.store.room(), hasher).await?;
        let trailers = trailers.and_then(|trailers| trailers.take());
        body::verify(&arrived.checksum, &stated, trailers.as_ref())?;
        verify_md5(input.content_md5.as_deref(), &arrived)?;
        let etag = store::hex(&arrived.md5);
        let checksum = arrived.checksum.clone();
        let object = Stored {
            length: arrived.piece.bytes.len() as u64,
            pieces: vec![arrived.piece],
            etag: etag.clone(),
            modified: SystemTime::now(),
            attributes: Attributes {
                metadata: input.metadata,
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                content_disposition: input.content_disposition,
                content_language: input.content_language,
                cache_control: input.cache_control,
                expires: input.expires,
                website_redirect_location: input.website_redirect_location,
            },
            checksum: arrived.checksum,
        };
        let may = may_write(input.if_match, input.if_none_match);
        self.store
            .put(&input.bucket, &input.key, object, may)
            .map_err(refused)?;
        answer(PutObjectOutput {
            e_tag: strong(&etag),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..PutObjectOutput::default()
        })
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let object = self.store.get(&input.bucket, &input.key).map_err(refused)?;
        ReadIf {
            matches: input.if_match.as_ref(),
            none_match: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
        }
        .check(&object)?;
        let range = match input.range {
            Some(range) => range.check(object.length)?,
            None => 0..object.length,
        };
        let whole = range == (0..object.length);
        let content_range = input
            .range
            .map(|_| format!("bytes {}-{}/{}", range.start, range.end - 1, object.length));
        let head = head(&object);
        // A part's sum is not the whole's: S3 states none with it.
        let sum = |sum: Option<String>| sum.filter(|_| whole);
        answer(GetObjectOutput {
            body: Some(StreamingBlob::new(Outgoing::new(
                object.slice(range.start, range.end),
            ))),
            content_length: size(range.end - range.start),
            content_range,
            accept_ranges: head.accept_ranges,
            content_type: head.content_type,
            content_encoding: head.content_encoding,
            content_disposition: head.content_disposition,
            content_language: head.content_language,
            cache_control: head.cache_control,
            expires: head.expires,
            website_redirect_location: head.website_redirect_location,
            metadata: head.metadata,
            e_tag: head.e_tag,
            last_modified: head.last_modified,
            checksum_crc32: sum(head.checksum_crc32),
            checksum_crc32c: sum(head.checksum_crc32c),
            checksum_crc64nvme: sum(head.checksum_crc64nvme),
            checksum_sha1: sum(head.checksum_sha1),
            checksum_sha256: sum(head.checksum_sha256),
            ..GetObjectOutput::default()
        })
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let object = self.store.get(&input.bucket, &input.key).map_err(refused)?;
        ReadIf {
            matches: input.if_match.as_ref(),
            none_match: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
        }
        .check(&object)?;
        answer(head(&object))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        self.store
            .delete(&input.bucket, &input.key)
            .map_err(refused)?;
        answer(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = request.input;
        let mut deleted = Vec::with_capacity(delete.objects.len());
        for object in delete.objects {
            self.store.delete(&bucket, &object.key).map_err(refused)?;
            deleted.push(DeletedObject {
                key: Some(object.key),
                ..DeletedObject::default()
            });
        }
        let quiet = delete.quiet.unwrap_or(false);
        answer(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            ..DeleteObjectsOutput::default()
        })
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let (bucket, key) = source(&input.copy_source)?;
        let original = self.store.get(bucket, key).map_err(refused)?;
        ReadIf {
            matches: input.copy_source_if_match.as_ref(),
            none_match: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        }
        .check(&original)
        // A copy has no "not modified": every condition that fails is a failed precondition.
        .map_err(|_| refused(Refusal::PreconditionFailed))?;
        // Bytes never change, so the copy shares them and their place in the budget.
        let mut copy = Stored::clone(&original);
        copy.modified = SystemTime::now();
        let replace = input
            .metadata_directive
            .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        if replace {
            copy.attributes = Attributes {
                metadata: input.metadata,
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                content_disposition: input.content_disposition,
                content_language: input.content_language,
                cache_control: input.cache_control,
                expires: input.expires,
                website_redirect_location: input.website_redirect_location,
            };
        }
        let result = CopyObjectResult {
            e_tag: strong(&copy.etag),
            last_modified: Some(Timestamp::from(copy.modified)),
            ..CopyObjectResult::default()
        };
        self.store
            .put(&input.bucket, &input.key, copy, |_| true)
            .map_err(refused)?;
        answer(CopyObjectOutput {
            copy_object_result: Some(result),
            ..CopyObjectOutput::default()
        })
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = request.input;
        let listing = self
            .store
            .list(
                &input.bucket,
                input.prefix.as_deref().unwrap_or_default(),
                input.delimiter.as_deref(),
                input.marker.as_deref().unwrap_or_default(),
                page_limit(input.max_keys),
            )
            .map_err(refused)?;
        let next = listing.next.clone();
        let (contents, common_prefixes) = page(listing);
        answer(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(input.prefix.unwrap_or_default()),
            marker: Some(input.marker.unwrap_or_default()),
            max_keys: Some(input.max_keys.unwrap_or(PAGE_MAX)),
            is_truncated: Some(next.is_some()),
            // S3 names the next marker only where keys are grouped; elsewhere it is the last key.
            next_marker: next.filter(|_| input.delimiter.is_some()),
            delimiter: input.delimiter,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        })
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let after = input
            .continuation_token
            .as_deref()
            .or(input.start_after.as_deref())
            .unwrap_or_default();
        let listing = self
            .store
            .list(
                &input.bucket,
                input.prefix.as_deref().unwrap_or_default(),
                input.delimiter.as_deref(),
                after,
                page_limit(input.max_keys),
            )
            .map_err(refused)?;
        let next = listing.next.clone();
        let (contents, common_prefixes) = page(listing);
        let count = contents.len() + common_prefixes.len();
        answer(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(input.prefix.unwrap_or_default()),
            max_keys: Some(input.max_keys.unwrap_or(PAGE_MAX)),
            key_count: i32::try_from(count).ok(),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            delimiter: input.delimiter,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let attributes = Attributes {
            metadata: input.metadata,
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            expires: input.expires,
            website_redirect_location: input.website_redirect_location,
        };
        let id = self
            .store
            .begin_upload(&input.bucket, &input.key, attributes)
            .map_err(refused)?;
        answer(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..CreateMultipartUploadOutput::default()
        })
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let trailers = request.trailing_headers;
        let input = request.input;
        check_part_number(input.part_number)?;
        self.store
            .upload(&input.bucket, &input.key, &input.upload_id)
            .map_err(refused)?;
        let stated = Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            checksum_type: None,
        };
        let hasher = body::hasher(&stated, input.checksum_algorithm.as_ref())?;
        let arrived = body::read(input.body, self.store.room(), hasher).await?;
        let trailers = trailers.and_then(|trailers| trailers.take());
        body::verify(&arrived.checksum, &stated, trailers.as_ref())?;
        verify_md5(input.content_md5.as_deref(), &arrived)?;
        let etag = store::hex(&arrived.md5);
        let checksum = arrived.checksum.clone();
        let part = StoredPart {
            piece: arrived.piece,
            md5: arrived.md5,
            modified: SystemTime::now(),
            checksum: arrived.checksum,
        };
        self.store
            .put_part(
                (&input.bucket, &input.key, &input.upload_id),
                input.part_number,
                part,
            )
            .map_err(refused)?;
        answer(UploadPartOutput {
            e_tag: strong(&etag),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..UploadPartOutput::default()
        })
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        check_part_number(input.part_number)?;
        let (bucket, key) = source(&input.copy_source)?;
        let original = self.store.get(bucket, key).map_err(refused)?;
        let range = match input.copy_source_range.as_deref().map(Range::parse) {
            Some(Ok(range)) => range.check(original.length)?,
            Some(Err(_)) => return Err(s3_error!(InvalidArgument, "not a range of bytes")),
            None => 0..original.length,
        };
        let slices = Outgoing::new(original.slice(range.start, range.end));
        let hasher = s3s::checksum::ChecksumHasher::default();
        let blob = StreamingBlob::new(slices);
        let arrived = body::read(Some(blob), self.store.room(), hasher).await?;
        let part = StoredPart {
            piece: arrived.piece,
            md5: arrived.md5,
            modified: SystemTime::now(),
            checksum: arrived.checksum,
        };
        let result = CopyPartResult {
            e_tag: strong(&store::hex(&part.md5)),
            last_modified: Some(Timestamp::from(part.modified)),
            ..CopyPartResult::default()
        };
        self.store
            .put_part(
                (&input.bucket, &input.key, &input.upload_id),
                input.part_number,
                part,
            )
            .map_err(refused)?;
        answer(UploadPartCopyOutput {
            copy_part_result: Some(result),
            ..UploadPartCopyOutput::default()
        })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let (bucket, key, id) = (&*input.bucket, &*input.key, &*input.upload_id);
        let upload = self.store.upload(bucket, key, id).map_err(refused)?;
        let wanted: Vec<(i32, Option<String>)> = input
            .multipart_upload
            .and_then(|list| list.parts)
            .unwrap_or_default()
            .into_iter()
            .map(|part| {
                let number = part.part_number.unwrap_or_default();
                (number, part.e_tag.map(ETag::into_value))
            })
            .collect();
        let parts = store::choose_parts(&upload, &wanted).map_err(refused)?;
        let mut sum = Md5::new();
        parts.iter().for_each(|part| sum.update(&part.md5));
        let etag = format!("{}-{}", store::hex(&sum.finalize()), parts.len());
        let object = Stored {
            length: parts.iter().map(|part| part.piece.bytes.len() as u64).sum(),
            pieces: parts.into_iter().map(|part| part.piece).collect(),
            etag: etag.clone(),
            modified: SystemTime::now(),
            attributes: upload.attributes,
            checksum: Checksum::default(),
        };
        let may = may_write(input.if_match, input.if_none_match);
        self.store.put(bucket, key, object, may).map_err(refused)?;
        self.store.end_upload(bucket, key, id).map_err(refused)?;
        answer(CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            e_tag: strong(&etag),
            bucket: Some(input.bucket),
            key: Some(input.key),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.store
            .end_upload(&input.bucket, &input.key, &input.upload_id)
            .map_err(refused)?;
        answer(AbortMultipartUploadOutput::default())
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let upload = self
            .store
            .upload(&input.bucket, &input.key, &input.upload_id)
            .map_err(refused)?;
        let after = input.part_number_marker.unwrap_or(0);
        let limit = page_limit(input.max_parts);
        let mut parts: Vec<Part> = upload
            .parts
            .iter()
            .filter(|(number, _)| **number > after)
            .take(limit + 1)
            .map(|(number, part)| Part {
                part_number: Some(*number),
                size: size(part.piece.bytes.len() as u64),
                e_tag: strong(&store::hex(&part.md5)),
                last_modified: Some(Timestamp::from(part.modified)),
                checksum_crc32: part.checksum.checksum_crc32.clone(),
                checksum_crc32c: part.checksum.checksum_crc32c.clone(),
                checksum_crc64nvme: part.checksum.checksum_crc64nvme.clone(),
                checksum_sha1: part.checksum.checksum_sha1.clone(),
                checksum_sha256: part.checksum.checksum_sha256.clone(),
            })
            .collect();
        let more = parts.len() > limit;
        parts.truncate(limit);
        answer(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(input.max_parts.unwrap_or(PAGE_MAX)),
            part_number_marker: Some(after),
            is_truncated: Some(more),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            parts: Some(parts),
            ..ListPartsOutput::default()
        })
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let uploads = self.store.uploads(&input.bucket, prefix).map_err(refused)?;
        let uploads = uploads
            .into_iter()
            .map(|(id, upload)| MultipartUpload {
                key: Some(upload.key),
                upload_id: Some(id),
                initiated: Some(Timestamp::from(upload.initiated)),
                ..MultipartUpload::default()
            })
            .collect();
        answer(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            uploads: Some(uploads),
            is_truncated: Some(false),
            max_uploads: Some(PAGE_MAX),
            ..ListMultipartUploadsOutput::default()
        })
    }
}

fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=10_000).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(
        InvalidArgument,
        "Part number must be an integer between 1 and 10000, inclusive"
    ))
}
