//! Which of S3's operations a request is, and what S3's errors look like.
//!
//! Recognition reads method, host, path, query and one header; it never looks at a body, checks no
//! signature and changes nothing. Sources: Amazon's S3 API reference for operations, codes and
//! messages; captures of real answers for header order, reason phrases and body layout.

use super::Headers;
use std::borrow::Cow;

/// What a path addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The service itself.
    Service,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
}
use Level::{Bucket, Object, Service};

/// One operation: first match in the table wins.
struct Operation {
    name: &'static str,
    method: &'static str,
    level: Level,
    /// Query parameters that must be there (`name` or `name=value`).
    query: &'static [&'static str],
    /// Whether `x-amz-copy-source` must be there.
    copies: bool,
}

const fn op(
    name: &'static str,
    method: &'static str,
    level: Level,
    query: &'static [&'static str],
) -> Operation {
    Operation {
        name,
        method,
        level,
        query,
        copies: false,
    }
}

const fn copy(name: &'static str, query: &'static [&'static str]) -> Operation {
    Operation {
        name,
        method: "PUT",
        level: Object,
        query,
        copies: true,
    }
}

/// Every operation, the more specific before the plainer of the same method and level.
#[rustfmt::skip]
const OPERATIONS: &[Operation] = &[
    op("ListBuckets", "GET", Service, &[]),
    // Objects.
    op("GetObjectAcl", "GET", Object, &["acl"]),
    op("GetObjectAttributes", "GET", Object, &["attributes"]),
    op("GetObjectLegalHold", "GET", Object, &["legal-hold"]),
    op("GetObjectRetention", "GET", Object, &["retention"]),
    op("GetObjectTagging", "GET", Object, &["tagging"]),
    op("GetObjectTorrent", "GET", Object, &["torrent"]),
    op("ListParts", "GET", Object, &["uploadId"]),
    op("GetObject", "GET", Object, &[]),
    op("HeadObject", "HEAD", Object, &[]),
    op("PutObjectAcl", "PUT", Object, &["acl"]),
    op("PutObjectLegalHold", "PUT", Object, &["legal-hold"]),
    op("PutObjectRetention", "PUT", Object, &["retention"]),
    op("PutObjectTagging", "PUT", Object, &["tagging"]),
    op("RenameObject", "PUT", Object, &["renameObject"]),
    copy("UploadPartCopy", &["partNumber", "uploadId"]),
    op("UploadPart", "PUT", Object, &["partNumber", "uploadId"]),
    copy("CopyObject", &[]),
    op("PutObject", "PUT", Object, &[]),
    op("CreateMultipartUpload", "POST", Object, &["uploads"]),
    op("CompleteMultipartUpload", "POST", Object, &["uploadId"]),
    op("RestoreObject", "POST", Object, &["restore"]),
    op("SelectObjectContent", "POST", Object, &["select"]),
    op("DeleteObjectTagging", "DELETE", Object, &["tagging"]),
    op("AbortMultipartUpload", "DELETE", Object, &["uploadId"]),
    op("DeleteObject", "DELETE", Object, &[]),
    // Buckets.
    op("ListObjectsV2", "GET", Bucket, &["list-type=2"]),
    op("ListObjectVersions", "GET", Bucket, &["versions"]),
    op("ListMultipartUploads", "GET", Bucket, &["uploads"]),
    op("CreateSession", "GET", Bucket, &["session"]),
    op("GetBucketAccelerateConfiguration", "GET", Bucket, &["accelerate"]),
    op("GetBucketAcl", "GET", Bucket, &["acl"]),
    op("GetBucketAnalyticsConfiguration", "GET", Bucket, &["analytics", "id"]),
    op("ListBucketAnalyticsConfigurations", "GET", Bucket, &["analytics"]),
    op("GetBucketCors", "GET", Bucket, &["cors"]),
    op("GetBucketEncryption", "GET", Bucket, &["encryption"]),
    op("GetBucketIntelligentTieringConfiguration", "GET", Bucket, &["intelligent-tiering", "id"]),
    op("ListBucketIntelligentTieringConfigurations", "GET", Bucket, &["intelligent-tiering"]),
    op("GetBucketInventoryConfiguration", "GET", Bucket, &["inventory", "id"]),
    op("ListBucketInventoryConfigurations", "GET", Bucket, &["inventory"]),
    op("GetBucketLifecycleConfiguration", "GET", Bucket, &["lifecycle"]),
    op("GetBucketLocation", "GET", Bucket, &["location"]),
    op("GetBucketLogging", "GET", Bucket, &["logging"]),
    op("GetBucketMetricsConfiguration", "GET", Bucket, &["metrics", "id"]),
    op("ListBucketMetricsConfigurations", "GET", Bucket, &["metrics"]),
    op("GetBucketNotificationConfiguration", "GET", Bucket, &["notification"]),
    op("GetBucketOwnershipControls", "GET", Bucket, &["ownershipControls"]),
    op("GetBucketPolicyStatus", "GET", Bucket, &["policyStatus"]),
    op("GetBucketPolicy", "GET", Bucket, &["policy"]),
    op("GetBucketReplication", "GET", Bucket, &["replication"]),
    op("GetBucketRequestPayment", "GET", Bucket, &["requestPayment"]),
    op("GetBucketTagging", "GET", Bucket, &["tagging"]),
    op("GetBucketVersioning", "GET", Bucket, &["versioning"]),
    op("GetBucketWebsite", "GET", Bucket, &["website"]),
    op("GetObjectLockConfiguration", "GET", Bucket, &["object-lock"]),
    op("GetPublicAccessBlock", "GET", Bucket, &["publicAccessBlock"]),
    op("ListObjects", "GET", Bucket, &[]),
    op("HeadBucket", "HEAD", Bucket, &[]),
    op("PutBucketAccelerateConfiguration", "PUT", Bucket, &["accelerate"]),
    op("PutBucketAcl", "PUT", Bucket, &["acl"]),
    op("PutBucketAnalyticsConfiguration", "PUT", Bucket, &["analytics"]),
    op("PutBucketCors", "PUT", Bucket, &["cors"]),
    op("PutBucketEncryption", "PUT", Bucket, &["encryption"]),
    op("PutBucketIntelligentTieringConfiguration", "PUT", Bucket, &["intelligent-tiering"]),
    op("PutBucketInventoryConfiguration", "PUT", Bucket, &["inventory"]),
    op("PutBucketLifecycleConfiguration", "PUT", Bucket, &["lifecycle"]),
    op("PutBucketLogging", "PUT", Bucket, &["logging"]),
    op("PutBucketMetricsConfiguration", "PUT", Bucket, &["metrics"]),
    op("PutBucketNotificationConfiguration", "PUT", Bucket, &["notification"]),
    op("PutBucketOwnershipControls", "PUT", Bucket, &["ownershipControls"]),
    op("PutBucketPolicy", "PUT", Bucket, &["policy"]),
    op("PutBucketReplication", "PUT", Bucket, &["replication"]),
    op("PutBucketRequestPayment", "PUT", Bucket, &["requestPayment"]),
    op("PutBucketTagging", "PUT", Bucket, &["tagging"]),
    op("PutBucketVersioning", "PUT", Bucket, &["versioning"]),
    op("PutBucketWebsite", "PUT", Bucket, &["website"]),
    op("PutObjectLockConfiguration", "PUT", Bucket, &["object-lock"]),
    op("PutPublicAccessBlock", "PUT", Bucket, &["publicAccessBlock"]),
    op("CreateBucket", "PUT", Bucket, &[]),
    op("DeleteObjects", "POST", Bucket, &["delete"]),
    op("PostObject", "POST", Bucket, &[]),
    op("DeleteBucketAnalyticsConfiguration", "DELETE", Bucket, &["analytics"]),
    op("DeleteBucketCors", "DELETE", Bucket, &["cors"]),
    op("DeleteBucketEncryption", "DELETE", Bucket, &["encryption"]),
    op("DeleteBucketIntelligentTieringConfiguration", "DELETE", Bucket, &["intelligent-tiering"]),
    op("DeleteBucketInventoryConfiguration", "DELETE", Bucket, &["inventory"]),
    op("DeleteBucketLifecycle", "DELETE", Bucket, &["lifecycle"]),
    op("DeleteBucketMetricsConfiguration", "DELETE", Bucket, &["metrics"]),
    op("DeleteBucketOwnershipControls", "DELETE", Bucket, &["ownershipControls"]),
    op("DeleteBucketPolicy", "DELETE", Bucket, &["policy"]),
    op("DeleteBucketReplication", "DELETE", Bucket, &["replication"]),
    op("DeleteBucketTagging", "DELETE", Bucket, &["tagging"]),
    op("DeleteBucketWebsite", "DELETE", Bucket, &["website"]),
    op("DeletePublicAccessBlock", "DELETE", Bucket, &["publicAccessBlock"]),
    op("DeleteBucket", "DELETE", Bucket, &[]),
];

/// The names of all operations that are recognised.
pub fn operations() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.name)
}

/// A request seen as S3 sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised<'a> {
    /// The operation; the HTTP method where it is none of S3's.
    pub operation: &'a str,
    /// The bucket, empty at the service's level.
    pub bucket: Cow<'a, str>,
    /// The object's key, percent-decoded, empty at the bucket's level.
    pub key: Cow<'a, str>,
}

impl Recognised<'_> {
    /// `bucket/key`, the bucket alone, or `/` for the service.
    pub fn resource(&self) -> String {
        match (self.bucket.is_empty(), self.key.is_empty()) {
            (true, _) => "/".to_owned(),
            (false, true) => self.bucket.clone().into_owned(),
            (false, false) => format!("{}/{}", self.bucket, self.key),
        }
    }
}

/// Recognises a request by its method, its path and query, its host and headers.
///
/// `virtual_host` is the host name suffix in front of which the bucket stands
/// (`s3.example.com`); other hosts are path-style.
pub fn recognise<'a>(
    method: &'a str,
    target: &'a str,
    host: &'a str,
    virtual_host: Option<&str>,
    headers: &Headers,
) -> Recognised<'a> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.strip_prefix('/').unwrap_or(path);
    let (bucket, key) = match virtual_host.and_then(|suffix| bucket_of_host(host, suffix)) {
        Some(bucket) => (Cow::Borrowed(bucket), path),
        None => {
            let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
            (percent_decoded(bucket), key)
        }
    };
    let level = match (bucket.is_empty(), key.is_empty()) {
        (true, _) => Service,
        (false, true) => Bucket,
        (false, false) => Object,
    };
    let has = |wanted: &str| {
        query.split('&').any(|part| {
            part == wanted
                || (!wanted.contains('=')
                    && part
                        .strip_prefix(wanted)
                        .is_some_and(|rest| rest.starts_with('=')))
        })
    };
    let known = OPERATIONS.iter().find(|operation| {
        operation.level == level
            && operation.method == method
            && operation.query.iter().all(|wanted| has(wanted))
            && (!operation.copies || headers.get("x-amz-copy-source").is_some())
    });
    Recognised {
        operation: known.map_or(method, |operation| operation.name),
        bucket,
        key: percent_decoded(key),
    }
}

/// The bucket that stands in front of the suffix, if one does.
fn bucket_of_host<'a>(host: &'a str, suffix: &str) -> Option<&'a str> {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        let is_port = port.bytes().all(|digit| digit.is_ascii_digit());
        if is_port { name } else { host }
    });
    let suffix = suffix.trim_start_matches('.');
    let bucket_len = name.len().checked_sub(suffix.len() + 1)?;
    let (bucket, rest) = name.split_at_checked(bucket_len)?;
    let fits = rest.strip_prefix('.')?.eq_ignore_ascii_case(suffix);
    (fits && !bucket.is_empty()).then_some(bucket)
}

/// Undoes percent-encoding for display; what is no valid encoding stays as it is, what is no
/// UTF-8 becomes the replacement character.
pub fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |offset: usize| {
            let digit = char::from(*bytes.get(at + offset)?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// What an error's body says beside code and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Nothing,
    Key,
    Bucket,
    UploadId,
    Method,
    Endpoint,
    Condition,
    Skew,
}

/// One of S3's errors.
pub struct ErrorDef {
    /// Its code.
    pub code: &'static str,
    /// Its HTTP status.
    pub status: u16,
    /// The reason phrase on HTTP/1.1's status line.
    pub reason: &'static str,
    /// The message in the body.
    pub message: &'static str,
    /// Whether S3 closes the connection after it.
    pub close: bool,
    detail: Detail,
}

const fn error(
    status: u16,
    reason: &'static str,
    code: &'static str,
    detail: Detail,
    message: &'static str,
) -> ErrorDef {
    ErrorDef {
        code,
        status,
        reason,
        message,
        // S3 leaves a connection whose request it could not serve.
        close: status >= 500 || matches!(code.as_bytes(), b"RequestTimeout" | b"IncompleteBody"),
        detail,
    }
}

/// The errors that faults can make. `SignatureDoesNotMatch` and `InvalidAccessKeyId` carry no
/// echo of the request's credentials, which the real ones do: secrets are not repeated here.
#[rustfmt::skip]
pub const ERRORS: &[ErrorDef] = &[
    error(500, "Internal Server Error", "InternalError", Detail::Nothing, "We encountered an internal error. Please try again."),
    error(503, "Slow Down", "SlowDown", Detail::Nothing, "Please reduce your request rate."),
    error(503, "Service Unavailable", "ServiceUnavailable", Detail::Nothing, "Service is unable to handle request."),
    error(501, "Not Implemented", "NotImplemented", Detail::Nothing, "A header you provided implies functionality that is not implemented"),
    error(400, "Bad Request", "RequestTimeout", Detail::Nothing, "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed."),
    error(400, "Bad Request", "IncompleteBody", Detail::Nothing, "You did not provide the number of bytes specified by the Content-Length HTTP header"),
    error(400, "Bad Request", "BadDigest", Detail::Nothing, "The Content-MD5 you specified did not match what we received."),
    error(400, "Bad Request", "InvalidDigest", Detail::Nothing, "The Content-MD5 you specified was invalid."),
    error(400, "Bad Request", "XAmzContentSHA256Mismatch", Detail::Nothing, "The provided 'x-amz-content-sha256' header does not match what was computed."),
    error(400, "Bad Request", "EntityTooLarge", Detail::Nothing, "Your proposed upload exceeds the maximum allowed size"),
    error(400, "Bad Request", "EntityTooSmall", Detail::Nothing, "Your proposed upload is smaller than the minimum allowed size"),
    error(400, "Bad Request", "ExpiredToken", Detail::Nothing, "The provided token has expired."),
    error(400, "Bad Request", "InvalidPart", Detail::Nothing, "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."),
    error(403, "Forbidden", "AccessDenied", Detail::Nothing, "Access Denied"),
    error(403, "Forbidden", "InvalidAccessKeyId", Detail::Nothing, "The AWS Access Key Id you provided does not exist in our records."),
    error(403, "Forbidden", "InvalidObjectState", Detail::Nothing, "The operation is not valid for the object's storage class"),
    error(403, "Forbidden", "RequestTimeTooSkewed", Detail::Skew, "The difference between the request time and the current time is too large."),
    error(403, "Forbidden", "SignatureDoesNotMatch", Detail::Nothing, "The request signature we calculated does not match the signature you provided. Check your key and signing method."),
    error(404, "Not Found", "NoSuchBucket", Detail::Bucket, "The specified bucket does not exist"),
    error(404, "Not Found", "NoSuchKey", Detail::Key, "The specified key does not exist."),
    error(404, "Not Found", "NoSuchUpload", Detail::UploadId, "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."),
    error(405, "Method Not Allowed", "MethodNotAllowed", Detail::Method, "The specified method is not allowed against this resource."),
    error(409, "Conflict", "BucketAlreadyOwnedByYou", Detail::Bucket, "Your previous request to create the named bucket succeeded and you already own it."),
    error(409, "Conflict", "BucketNotEmpty", Detail::Bucket, "The bucket you tried to delete is not empty"),
    error(409, "Conflict", "ConditionalRequestConflict", Detail::Condition, "The conditional request cannot succeed due to a conflicting operation against this resource."),
    error(409, "Conflict", "OperationAborted", Detail::Nothing, "A conflicting conditional operation is currently in progress against this resource. Please try again."),
    error(412, "Precondition Failed", "PreconditionFailed", Detail::Condition, "At least one of the pre-conditions you specified did not hold"),
    error(416, "Requested Range Not Satisfiable", "InvalidRange", Detail::Nothing, "The requested range is not satisfiable"),
    error(301, "Moved Permanently", "PermanentRedirect", Detail::Endpoint, "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint."),
    error(307, "Temporary Redirect", "TemporaryRedirect", Detail::Endpoint, "Please re-send this request to the specified temporary endpoint. Continue to use the original request endpoint for future requests."),
];

/// The error of this code.
pub fn find_error(code: &str) -> Option<&'static ErrorDef> {
    ERRORS.iter().find(|def| def.code == code)
}

/// The request that an error answers, as far as its body speaks of it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The host asked.
    pub host: &'a str,
    /// `bucket/key` as [`Recognised::resource`] gives it.
    pub resource: &'a str,
    /// The request's headers.
    pub headers: &'a Headers,
    /// The answer's date.
    pub date: &'a str,
}

/// The XML body of an error: declaration, one line feed, then one line.
pub fn error_body(def: &ErrorDef, asked: &Asked<'_>, request_id: &str, host_id: &str) -> String {
    let mut body = String::with_capacity(512);
    body.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    element(&mut body, "Code", def.code);
    element(&mut body, "Message", def.message);
    detail(&mut body, def.detail, asked);
    element(&mut body, "RequestId", request_id);
    element(&mut body, "HostId", host_id);
    body.push_str("</Error>");
    body
}

fn detail(body: &mut String, detail: Detail, asked: &Asked<'_>) {
    let (bucket, key) = asked
        .resource
        .split_once('/')
        .unwrap_or((asked.resource, ""));
    let condition = [
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-Unmodified-Since",
    ]
    .into_iter()
    .find(|name| asked.headers.get(&name.to_ascii_lowercase()).is_some());
    match detail {
        Detail::Nothing => {}
        Detail::Key => element(body, "Key", key),
        Detail::Bucket => element(body, "BucketName", bucket),
        Detail::UploadId => element(body, "UploadId", &percent_decoded(upload_id(asked.target))),
        Detail::Method => {
            element(body, "Method", asked.method);
            element(
                body,
                "ResourceType",
                if key.is_empty() { "BUCKET" } else { "OBJECT" },
            );
        }
        Detail::Endpoint => {
            element(body, "Endpoint", asked.host);
            element(body, "Bucket", bucket);
        }
        Detail::Condition => {
            if let Some(condition) = condition {
                element(body, "Condition", condition);
            }
        }
        Detail::Skew => {
            element(
                body,
                "RequestTime",
                asked.headers.get("x-amz-date").unwrap_or_default(),
            );
            element(body, "ServerTime", &iso(asked.date));
            element(body, "MaxAllowedSkewMilliseconds", "900000");
        }
    }
}

/// HTTP's date as ISO 8601, which is how S3's bodies say it.
fn iso(date: &str) -> String {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(date)
        .map_or_else(|_| date.to_owned(), |at| at.to_string())
}

fn upload_id(target: &str) -> &str {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .find_map(|part| part.strip_prefix("uploadId="))
        .unwrap_or_default()
}

fn element(body: &mut String, name: &str, text: &str) {
    body.push('<');
    body.push_str(name);
    body.push('>');
    for letter in text.chars() {
        match letter {
            '&' => body.push_str("&amp;"),
            '<' => body.push_str("&lt;"),
            '>' => body.push_str("&gt;"),
            other => body.push(other),
        }
    }
    body.push_str("</");
    body.push_str(name);
    body.push('>');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recognises `METHOD target`, path-style, and says `Operation resource`.
    fn seen(request: &str, headers: &[(&str, &str)]) -> String {
        let (method, target) = request.split_once(' ').expect("METHOD target");
        let headers: Headers = headers.iter().copied().collect();
        let seen = recognise(method, target, "127.0.0.1:9000", None, &headers);
        format!("{} {}", seen.operation, seen.resource())
    }

    #[test]
    fn every_operation_is_recognised() {
        for (request, expected) in [
            ("GET /", "ListBuckets /"),
            ("GET /?x-id=ListBuckets", "ListBuckets /"),
            ("PUT /b", "CreateBucket b"),
            ("PUT /b/", "CreateBucket b"),
            ("HEAD /b", "HeadBucket b"),
            ("DELETE /b", "DeleteBucket b"),
            ("GET /b", "ListObjects b"),
            ("GET /b?prefix=a&marker=c", "ListObjects b"),
            ("GET /b/?list-type=2&prefix=a%2F", "ListObjectsV2 b"),
            ("GET /b?list-type=1", "ListObjects b"),
            ("GET /b?versions", "ListObjectVersions b"),
            ("GET /b?versions=&prefix=a", "ListObjectVersions b"),
            ("GET /b?uploads", "ListMultipartUploads b"),
            ("GET /b?location", "GetBucketLocation b"),
            ("GET /b?versioning", "GetBucketVersioning b"),
            ("PUT /b?versioning", "PutBucketVersioning b"),
            ("GET /b?tagging", "GetBucketTagging b"),
            ("DELETE /b?tagging", "DeleteBucketTagging b"),
            ("PUT /b?acl", "PutBucketAcl b"),
            ("GET /b?policy", "GetBucketPolicy b"),
            ("GET /b?policyStatus", "GetBucketPolicyStatus b"),
            ("DELETE /b?policy", "DeleteBucketPolicy b"),
            ("GET /b?lifecycle", "GetBucketLifecycleConfiguration b"),
            ("DELETE /b?lifecycle", "DeleteBucketLifecycle b"),
            ("GET /b?analytics&id=1", "GetBucketAnalyticsConfiguration b"),
            ("GET /b?analytics", "ListBucketAnalyticsConfigurations b"),
            ("PUT /b?publicAccessBlock", "PutPublicAccessBlock b"),
            ("PUT /b?object-lock", "PutObjectLockConfiguration b"),
            ("POST /b?delete", "DeleteObjects b"),
            ("POST /b", "PostObject b"),
            ("GET /b/k", "GetObject b/k"),
            ("GET /b/k?x-id=GetObject", "GetObject b/k"),
            ("GET /b/k?versionId=3", "GetObject b/k"),
            ("GET /b/k?partNumber=3", "GetObject b/k"),
            ("GET /b/acl", "GetObject b/acl"),
            ("GET /b/k?X-Amz-Signature=acl", "GetObject b/k"),
            ("HEAD /b/k", "HeadObject b/k"),
            ("PUT /b/k", "PutObject b/k"),
            ("DELETE /b/k", "DeleteObject b/k"),
            ("GET /b/k?acl", "GetObjectAcl b/k"),
            ("PUT /b/k?acl", "PutObjectAcl b/k"),
            ("GET /b/k?tagging", "GetObjectTagging b/k"),
            ("PUT /b/k?tagging", "PutObjectTagging b/k"),
            ("DELETE /b/k?tagging", "DeleteObjectTagging b/k"),
            ("GET /b/k?attributes", "GetObjectAttributes b/k"),
            ("GET /b/k?retention", "GetObjectRetention b/k"),
            ("PUT /b/k?legal-hold", "PutObjectLegalHold b/k"),
            ("POST /b/k?restore", "RestoreObject b/k"),
            ("POST /b/k?select&select-type=2", "SelectObjectContent b/k"),
            ("POST /b/k?uploads", "CreateMultipartUpload b/k"),
            ("PUT /b/k?partNumber=1&uploadId=u", "UploadPart b/k"),
            ("PUT /b/k?uploadId=u&partNumber=1", "UploadPart b/k"),
            ("POST /b/k?uploadId=u", "CompleteMultipartUpload b/k"),
            ("DELETE /b/k?uploadId=u", "AbortMultipartUpload b/k"),
            ("GET /b/k?uploadId=u", "ListParts b/k"),
            ("OPTIONS /b/k", "OPTIONS b/k"),
            ("POST /b/k", "POST b/k"),
        ] {
            assert_eq!(seen(request, &[]), expected, "{request}");
        }
    }

    #[test]
    fn copies_are_told_by_their_source() {
        let source = [("x-amz-copy-source", "/b/other")];
        assert_eq!(seen("PUT /b/k", &source), "CopyObject b/k");
        let part = "PUT /b/k?partNumber=1&uploadId=u";
        assert_eq!(seen(part, &source), "UploadPartCopy b/k");
        assert_eq!(seen("GET /b/k", &source), "GetObject b/k");
    }

    #[test]
    fn keys_are_decoded_for_display_and_keep_their_slashes() {
        for (request, expected) in [
            ("GET /models/dir/k%201", "GetObject models/dir/k 1"),
            ("GET /b/a%2Fb+c", "GetObject b/a/b+c"),
            ("GET /b//a/../c", "GetObject b//a/../c"),
            ("GET /b/%C3%A4%F0", "GetObject b/ä\u{fffd}"),
            ("GET /b/100%", "GetObject b/100%"),
            ("GET /b/%zz%4", "GetObject b/%zz%4"),
            ("GET /b/%+1%-1", "GetObject b/%+1%-1"),
        ] {
            assert_eq!(seen(request, &[]), expected, "{request}");
        }
    }

    #[test]
    fn the_bucket_may_stand_in_front_of_the_host() {
        let suffix = Some("s3.example.com");
        for (host, target, expected) in [
            ("models.s3.example.com", "/dir/k", "models/dir/k"),
            ("models.S3.Example.com:9000", "/dir/k", "models/dir/k"),
            ("a.b.s3.example.com", "/k", "a.b/k"),
            ("models.s3.example.com", "/", "models"),
            ("s3.example.com", "/models/k", "models/k"),
            (".s3.example.com", "/models/k", "models/k"),
            ("modelss3.example.com", "/models/k", "models/k"),
            ("127.0.0.1:9000", "/models/k", "models/k"),
            ("é.example.com", "/models/k", "models/k"),
        ] {
            let seen = recognise("GET", target, host, suffix, &Headers::default());
            assert_eq!(seen.resource(), expected, "{host}{target}");
        }
        let dotted = recognise("GET", "/k", "b.x", Some(".x"), &Headers::default());
        assert_eq!(dotted.resource(), "b/k");
    }

    #[test]
    fn no_operation_hides_behind_a_plainer_one() {
        for (at, operation) in OPERATIONS.iter().enumerate() {
            let path = match operation.level {
                Service => "/",
                Bucket => "/b",
                Object => "/b/k",
            };
            let query: Vec<String> = operation
                .query
                .iter()
                .map(|part| match part.contains('=') {
                    true => (*part).to_owned(),
                    false => format!("{part}=1"),
                })
                .collect();
            let request = format!("{} {path}?{}", operation.method, query.join("&"));
            let source = [("x-amz-copy-source", "/b/other")];
            let headers = if operation.copies { &source[..] } else { &[] };
            let name = seen(&request, headers);
            let expected = operation.name;
            assert!(
                name.starts_with(&format!("{expected} ")),
                "{at}: {request}: {name}"
            );
        }
    }

    #[test]
    fn names_and_codes_are_unique() {
        let mut names: Vec<&str> = operations().collect();
        names.extend(ERRORS.iter().map(|def| def.code));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn text_from_the_request_cannot_break_the_body() {
        let asked = Asked {
            method: "GET",
            target: "/b/k",
            host: "h",
            resource: "b/<a>&\"b\"",
            headers: &Headers::default(),
            date: "",
        };
        let body = error_body(find_error("NoSuchKey").unwrap(), &asked, "R", "H");
        assert!(body.contains("<Key>&lt;a&gt;&amp;\"b\"</Key>"), "{body}");
    }
}
