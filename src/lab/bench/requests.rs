//! The requests of a run: their bytes follow from a number.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};

use super::connection::Target;
use super::plan::{BatchForm, BatchPlan, Plan, Workload};
use super::same_key::SameKey;
use crate::random::mix;
use quorapay_api::headers;

/// Who pays in every run.
pub(super) const PAYER: &str = "external:bench";

/// The receiving accounts of every run begin with this.
const RECEIVERS: &str = "bench:shop-";

/// Digits of a key's number: enough for any `u64`, so that all requests have the same length.
const NUMBER_DIGITS: usize = 20;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(headers::IDEMPOTENCY_KEY.lower);

/// The account with this number.
pub(super) fn receiver(plan: &Plan, number: u32) -> String {
    let digits = receiver_digits(plan);
    format!("{RECEIVERS}{number:0digits$}")
}

/// The account that receives everything if all callers send the same keys. No other run pays it.
pub(super) fn same_key_account(plan: &Plan) -> String {
    format!("bench:same-{}", plan.run_id)
}

fn receiver_digits(plan: &Plan) -> usize {
    plan.accounts.saturating_sub(1).to_string().len()
}

/// Something that is read.
#[derive(Clone, Debug)]
pub(super) struct Readable {
    /// Path and query.
    pub(super) path: String,
    /// The id that the answer must have; `None` for a list.
    pub(super) id: Option<String>,
}

/// Makes the requests of one caller.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Pay(Template),
    SameKey(Template, Arc<SameKey>),
    Read(Arc<[Readable]>),
}

impl Requests {
    /// Those of a plan: `readable` has what it reads, `same_key` follows the keys that all callers send.
    pub(super) fn new(plan: &Plan, readable: Arc<[Readable]>, same_key: Arc<SameKey>) -> Self {
        let kind = match plan.workload {
            Workload::Pay => Kind::Pay(Template::new(plan)),
            Workload::SameKey => Kind::SameKey(Template::new(plan), same_key),
            Workload::Read(..) => Kind::Read(readable),
        };
        Self { kind }
    }

    /// Builds a request. The same number gives the same request, so that a retry has the same key and content.
    pub(super) fn request(&mut self, target: &Target, number: u64) -> Request<Full<Bytes>> {
        match &mut self.kind {
            Kind::Pay(template) => template.request(target, number),
            Kind::SameKey(template, keys) => template.request(target, keys.key_of(number)),
            Kind::Read(readable) => {
                let mut request = Request::new(Full::default());
                *request.uri_mut() = uri(target, &chosen(readable, number).path);
                request.headers_mut().clone_from(&target.headers);
                request
            }
        }
    }

    /// What a request reads; `None` if it pays.
    pub(super) fn reads(&self, number: u64) -> Option<&Readable> {
        match &self.kind {
            Kind::Pay(_) | Kind::SameKey(..) => None,
            Kind::Read(readable) => Some(chosen(readable, number)),
        }
    }
}

/// Chosen evenly and without a pattern that caches could profit from.
fn chosen(readable: &[Readable], number: u64) -> &Readable {
    let count = u64::try_from(readable.len()).expect("a usize fits into 64 bits");
    &readable[usize::try_from(mix(number) % count).expect("less than a usize")]
}

fn uri(target: &Target, path: &str) -> Uri {
    let whole = if target.base_path.is_empty() { path.parse() } else { format!("{}{path}", target.base_path).parse() };
    whole.expect("a path of a parsed URL and one of the API")
}

/// The bytes of a request that pays. From one request to the next only digits change.
#[derive(Clone, Debug)]
struct Template {
    path: &'static str,
    key: Vec<u8>,
    body: Vec<u8>,
    /// Offset of the first payment in the body.
    first_at: usize,
    /// Distance between two payments.
    stride: usize,
    payments: usize,
    /// Offset of the number of its key within a payment, if payments have keys.
    number_at: Option<usize>,
    /// Offset of the receiver's number within a payment.
    receiver_at: usize,
    receiver_digits: usize,
    accounts: u64,
}

impl Template {
    fn new(plan: &Plan) -> Self {
        let zeros = "0".repeat(NUMBER_DIGITS);
        let mut payment = "{".to_owned();
        let number_at = plan.batch.is_some_and(|batch| batch.item_keys).then(|| {
            payment.push_str(&format!(r#""idempotency_key":"{}-p"#, plan.run_id));
            let at = payment.len();
            payment.push_str(&format!(r#"{zeros}","#));
            at
        });
        let (prefix, receiver_digits) = match plan.workload {
            // All digits are those of the run: what the account received is what the run paid.
            Workload::SameKey => (same_key_account(plan), 0),
            Workload::Pay | Workload::Read(..) => (RECEIVERS.to_owned(), receiver_digits(plan)),
        };
        payment.push_str(&format!(r#""from":"{PAYER}","to":"{prefix}"#));
        let receiver_at = payment.len();
        let (amount, currency, receiver) = (plan.amount, plan.currency, "0".repeat(receiver_digits));
        payment.push_str(&format!(r#"{receiver}","amount":{amount},"currency":"{currency}"}}"#));
        let (body, first_at, stride, payments) = Self::body(&payment, plan.batch);
        Self {
            path: if plan.batch.is_some() { "/v1/payments/batch" } else { "/v1/payments" },
            key: format!("{}-{zeros}", plan.run_id).into_bytes(),
            body: body.into_bytes(),
            first_at,
            stride,
            payments,
            number_at,
            receiver_at,
            receiver_digits,
            accounts: u64::from(plan.accounts),
        }
    }

    /// The body, the offset of its first payment, the distance between two, and their number.
    fn body(payment: &str, batch: Option<BatchPlan>) -> (String, usize, usize, usize) {
        let Some(batch) = batch else { return (payment.to_owned(), 0, 0, 1) };
        let payments = usize::try_from(batch.size).expect("a usize holds 32 bits here");
        let (stride, all) = (payment.len() + 1, vec![payment; payments]);
        match batch.form {
            BatchForm::Ndjson => (all.join("\n"), 0, stride, payments),
            BatchForm::Json => (format!("[{}]", all.join(",")), 1, stride, payments),
        }
    }

    fn request(&mut self, target: &Target, number: u64) -> Request<Full<Bytes>> {
        let number_at = self.key.len() - NUMBER_DIGITS;
        write_digits(&mut self.key[number_at..], number);
        let first = number * u64::try_from(self.payments).expect("a usize fits into 64 bits");
        for (payment_number, payment) in (first..).zip(0..self.payments) {
            let at = self.first_at + payment * self.stride;
            if let Some(number_at) = self.number_at {
                write_digits(&mut self.body[at + number_at..at + number_at + NUMBER_DIGITS], payment_number);
            }
            // Spread evenly and without a pattern that caches could profit from.
            let receiver = mix(payment_number) % self.accounts;
            let receiver_at = at + self.receiver_at;
            write_digits(&mut self.body[receiver_at..receiver_at + self.receiver_digits], receiver);
        }
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(&self.body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri(target, self.path);
        let headers = request.headers_mut();
        headers.clone_from(&target.headers);
        let key = HeaderValue::from_bytes(&self.key).expect("a UUID, a dash and digits");
        headers.insert(&IDEMPOTENCY_KEY, key);
        request
    }
}

fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a decimal digit");
        number /= 10;
    }
}
