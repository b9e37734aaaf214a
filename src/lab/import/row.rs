//! Parses a record as a payment, by the rules of the node: what a node refuses for its form is refused here first.

use serde::Deserialize;

use super::records::{Record, fields};
use quorapay_api::limits::{MAX_DESCRIPTION_CHARS, MAX_HOLD_SECONDS, MAX_METADATA_BYTES};
use quorapay_client::{BatchItem, Capture, NewPayment, Order};
use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, MinorUnits, OrderId};

/// Why a row is not a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowError {
    pub(super) code: String,
    pub(super) field: Option<String>,
    pub(super) detail: String,
}

impl RowError {
    fn row(detail: impl Into<String>) -> Self {
        Self { code: "invalid_row".to_owned(), field: None, detail: detail.into() }
    }

    fn field(code: &str, field: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), field: Some(field.to_owned()), detail: detail.into() }
    }
}

/// How rows are parsed.
#[derive(Clone, Debug)]
pub(super) enum RowFormat {
    /// By the columns that the header names.
    Csv(Columns),
    /// As the body of `POST /v1/payments`.
    Ndjson,
}

/// The columns of a CSV file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns(Vec<Column>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    From,
    To,
    Amount,
    AmountMinor,
    Currency,
    Capture,
    ExpiresIn,
    OrderId,
    OrderTotal,
    Description,
    Metadata,
    Key,
}

/// Every column with its name.
const COLUMNS: [(Column, &str); 12] = [
    (Column::From, "from"),
    (Column::To, "to"),
    (Column::Amount, "amount"),
    (Column::AmountMinor, "amount_minor"),
    (Column::Currency, "currency"),
    (Column::Capture, "capture"),
    (Column::ExpiresIn, "expires_in"),
    (Column::OrderId, "order_id"),
    (Column::OrderTotal, "order_total"),
    (Column::Description, "description"),
    (Column::Metadata, "metadata"),
    (Column::Key, "idempotency_key"),
];

impl Columns {
    /// Reads the header.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub(super) fn read(header: &Record) -> Result<Self, String> {
        let text = std::str::from_utf8(&header.text).map_err(|_| "the header is no UTF-8".to_owned())?;
        let names = fields(text).ok_or("the header's quotes are wrong")?;
        let mut columns = Vec::new();
        for name in &names {
            let known = COLUMNS.iter().find(|(_, known)| known == name);
            let (column, _) = known.ok_or_else(|| {
                let known = COLUMNS.map(|(_, name)| name).join(", ");
                format!("there is no column {name:?}; the columns are {known}")
            })?;
            if columns.contains(column) {
                return Err(format!("the column {name:?} is there twice"));
            }
            columns.push(*column);
        }
        for (column, name) in [(Column::From, "from"), (Column::To, "to"), (Column::Currency, "currency")] {
            if !columns.contains(&column) {
                return Err(format!("the column {name:?} is missing"));
            }
        }
        if columns.contains(&Column::Amount) == columns.contains(&Column::AmountMinor) {
            return Err("one column of \"amount\" (150.75) and \"amount_minor\" (15075) must be there".to_owned());
        }
        Ok(Self(columns))
    }
}

/// Parses a row.
pub(super) fn parse(format: &RowFormat, record: &Record) -> Result<BatchItem, RowError> {
    let item = match format {
        RowFormat::Csv(columns) => parse_csv(columns, record)?,
        RowFormat::Ndjson => parse_line(record)?,
    };
    check(&item.payment)?;
    Ok(item)
}

fn parse_csv(columns: &Columns, record: &Record) -> Result<BatchItem, RowError> {
    let text = std::str::from_utf8(&record.text).map_err(|_| RowError::row("the row is no UTF-8"))?;
    let fields = fields(text).ok_or_else(|| RowError::row("the row's quotes are wrong"))?;
    if fields.len() != columns.0.len() {
        return Err(RowError::row(format!("the row has {} fields, the header {}", fields.len(), columns.0.len())));
    }
    let cells = Cells { columns, fields };
    let currency = cells.parse(Column::Currency, "invalid_currency", Currency::parse)?;
    let currency = cells.required(Column::Currency, currency)?;
    let from = cells.parse(Column::From, "invalid_account_id", AccountId::parse)?;
    let to = cells.parse(Column::To, "invalid_account_id", AccountId::parse)?;
    let units = |text: &str| cells.units(text, currency);
    let amount = cells.parse(cells.amount_column(), "invalid_amount", units)?;
    let payment = NewPayment {
        capture: cells.parse(Column::Capture, "invalid_capture", parse_capture)?.unwrap_or_default(),
        expires_in: cells.parse(Column::ExpiresIn, "invalid_expires_in", str::parse::<u32>)?,
        order: cells.order(currency)?,
        description: cells.get(Column::Description).map(str::to_owned),
        metadata: cells.parse(Column::Metadata, "invalid_metadata", |text| serde_json::from_str(text))?,
        ..NewPayment::new(
            cells.required(Column::From, from)?,
            cells.required(Column::To, to)?,
            cells.required(cells.amount_column(), amount)?,
            currency,
        )
    };
    let key = cells.parse(Column::Key, "invalid_idempotency_key", IdempotencyKey::parse)?;
    Ok(BatchItem { idempotency_key: key, payment })
}

/// The fields of a row by column. An empty field counts as missing.
struct Cells<'a> {
    columns: &'a Columns,
    fields: Vec<String>,
}

impl Cells<'_> {
    fn get(&self, column: Column) -> Option<&str> {
        let at = self.columns.0.iter().position(|known| *known == column)?;
        Some(self.fields[at].as_str()).filter(|text| !text.is_empty())
    }

    fn parse<T, E: ToString>(
        &self,
        column: Column,
        code: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, RowError> {
        let read = self.get(column).map(read).transpose();
        read.map_err(|error| RowError::field(code, name_of(column), error.to_string()))
    }

    fn required<T>(&self, column: Column, value: Option<T>) -> Result<T, RowError> {
        value.ok_or_else(|| RowError::field("missing_field", name_of(column), "the field is empty"))
    }

    fn amount_column(&self) -> Column {
        if self.columns.0.contains(&Column::Amount) { Column::Amount } else { Column::AmountMinor }
    }

    /// Parses an amount in the way that the header chose.
    fn units(&self, text: &str, currency: Currency) -> Result<MinorUnits, String> {
        if self.amount_column() == Column::Amount {
            return currency.parse_amount(text).map_err(|error| error.to_string());
        }
        let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
        let units = text.parse::<i64>().ok().filter(|_| digits_only);
        let units = units.ok_or_else(|| format!("{text:?} is no whole number of minor units"))?;
        MinorUnits::positive(units).map_err(|error| error.to_string())
    }

    fn order(&self, currency: Currency) -> Result<Option<Order>, RowError> {
        let id = self.parse(Column::OrderId, "invalid_order", OrderId::parse)?;
        let total = self.parse(Column::OrderTotal, "invalid_order", |text| self.units(text, currency))?;
        match (id, total) {
            (Some(id), Some(total)) => Ok(Some(Order { id, total })),
            (None, None) => Ok(None),
            _ => Err(RowError::field("invalid_order", "order_id", "an order has an id and a total")),
        }
    }
}

fn name_of(column: Column) -> &'static str {
    COLUMNS.iter().find(|(known, _)| *known == column).map_or("", |(_, name)| name)
}

fn parse_capture(text: &str) -> Result<Capture, &'static str> {
    match text {
        "automatic" => Ok(Capture::Automatic),
        "manual" => Ok(Capture::Manual),
        _ => Err("capture is \"automatic\" or \"manual\""),
    }
}

/// A line of an NDJSON file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NdjsonRow {
    from: AccountId,
    to: AccountId,
    amount: i64,
    currency: Currency,
    #[serde(default)]
    capture: Capture,
    expires_in: Option<u32>,
    order: Option<Order>,
    description: Option<String>,
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
    idempotency_key: Option<IdempotencyKey>,
}

fn parse_line(record: &Record) -> Result<BatchItem, RowError> {
    let mut reader = serde_json::Deserializer::from_slice(&record.text);
    let line: NdjsonRow = serde_path_to_error::deserialize(&mut reader).map_err(|error| row_error(&error))?;
    reader.end().map_err(|error| RowError::row(error.to_string()))?;
    let amount = MinorUnits::positive(line.amount)
        .map_err(|error| RowError::field("invalid_amount", "amount", error.to_string()))?;
    let payment = NewPayment {
        capture: line.capture,
        expires_in: line.expires_in,
        order: line.order,
        description: line.description,
        metadata: line.metadata,
        ..NewPayment::new(line.from, line.to, amount, line.currency)
    };
    Ok(BatchItem { idempotency_key: line.idempotency_key, payment })
}

fn row_error(error: &serde_path_to_error::Error<serde_json::Error>) -> RowError {
    let path = error.path().to_string();
    let code = match path.split('.').next().unwrap_or_default() {
        "amount" => "invalid_amount",
        "currency" => "invalid_currency",
        "from" | "to" => "invalid_account_id",
        "capture" => "invalid_capture",
        "expires_in" => "invalid_expires_in",
        "order" => "invalid_order",
        "description" => "invalid_description",
        "metadata" => "invalid_metadata",
        "idempotency_key" => "invalid_idempotency_key",
        _ => return RowError::row(error.inner().to_string()),
    };
    RowError::field(code, &path, error.inner().to_string())
}

/// The rules that no field's type enforces.
fn check(payment: &NewPayment) -> Result<(), RowError> {
    if payment.from == payment.to {
        return Err(RowError::field("same_account", "to", "a payment goes from one account to another"));
    }
    if payment.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION_CHARS) {
        let detail = format!("a description has at most {MAX_DESCRIPTION_CHARS} characters");
        return Err(RowError::field("description_too_long", "description", detail));
    }
    let metadata = payment.metadata.as_ref().map(|map| serde_json::to_vec(map).map_or(usize::MAX, |json| json.len()));
    if metadata.is_some_and(|bytes| bytes > MAX_METADATA_BYTES) {
        let detail = format!("metadata have at most {MAX_METADATA_BYTES} bytes");
        return Err(RowError::field("metadata_too_large", "metadata", detail));
    }
    if payment.order.as_ref().is_some_and(|order| order.total < MinorUnits::new(1)) {
        return Err(RowError::field("invalid_order", "order.total", "an order's total is positive"));
    }
    match (payment.capture, payment.expires_in) {
        (Capture::Automatic, Some(_)) => {
            Err(RowError::field("invalid_expires_in", "expires_in", "expires_in is for manual capture"))
        }
        (Capture::Manual, Some(seconds)) if !(1..=MAX_HOLD_SECONDS).contains(&seconds) => {
            let detail = format!("expires_in is 1 to {MAX_HOLD_SECONDS} seconds");
            Err(RowError::field("invalid_expires_in", "expires_in", detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::import::records::FilePosition;

    fn record(text: &str) -> Record {
        Record { text: text.as_bytes().to_vec(), line: 1, end: FilePosition { offset: 0, lines: 1 } }
    }

    fn csv(header: &str, row: &str) -> Result<BatchItem, RowError> {
        parse(&RowFormat::Csv(Columns::read(&record(header)).unwrap()), &record(row))
    }

    fn code(read: Result<BatchItem, RowError>) -> (String, Option<String>) {
        let error = read.unwrap_err();
        (error.code, error.field)
    }

    #[test]
    fn a_csv_row_has_every_field_of_a_payment() {
        let header =
            "idempotency_key,from,to,amount,currency,capture,expires_in,order_id,order_total,description,metadata";
        let row = "k-1,wallet:9,shop:1,150.75,USD,manual,60,1001,200.00,\"tea, green\",\"{\"\"n\"\":1}\"";
        let item = serde_json::to_value(csv(header, row).unwrap()).unwrap();
        let expected = serde_json::json!({
            "idempotency_key": "k-1", "from": "wallet:9", "to": "shop:1", "amount": 15_075, "currency": "USD",
            "capture": "manual", "expires_in": 60, "order": {"id": "1001", "total": 20_000},
            "description": "tea, green", "metadata": {"n": 1},
        });
        assert_eq!(item, expected);
        let plain = serde_json::to_value(csv("from,to,amount_minor,currency", "a,b,1200,JPY").unwrap()).unwrap();
        assert_eq!(plain, serde_json::json!({"from": "a", "to": "b", "amount": 1200, "currency": "JPY"}));
    }

    #[test]
    fn a_row_that_a_node_would_refuse_is_refused_with_the_same_code_and_its_field() {
        let header = "from,to,amount,currency,capture,expires_in";
        for (row, expected, field) in [
            ("a,b,1.005,USD,,", "invalid_amount", Some("amount")),
            ("a,b,0,USD,,", "invalid_amount", Some("amount")),
            ("a,b,,USD,,", "missing_field", Some("amount")),
            ("a,b,1,US$,,", "invalid_currency", Some("currency")),
            ("a b,b,1,USD,,", "invalid_account_id", Some("from")),
            ("a,a,1,USD,,", "same_account", Some("to")),
            ("a,b,1,USD,later,", "invalid_capture", Some("capture")),
            ("a,b,1,USD,,60", "invalid_expires_in", Some("expires_in")),
            ("a,b,1,USD", "invalid_row", None),
            ("\"a,b,1,USD,,", "invalid_row", None),
        ] {
            assert_eq!(code(csv(header, row)), (expected.to_owned(), field.map(str::to_owned)), "{row}");
        }
        for (line, expected) in [
            (r#"{"from":"a","to":"b","amount":1.5,"currency":"USD"}"#, "invalid_amount"),
            (r#"{"from":"a","to":"b","amount":0,"currency":"USD"}"#, "invalid_amount"),
            (r#"{"from":"a","to":"b","amount":1,"currency":"USD","amuont":1}"#, "invalid_row"),
            (r#"{"from":"a","to":"b","amount":1,"amount":2,"currency":"USD"}"#, "invalid_row"),
            (r#"{"from":"a","to":"b","amount":1,"currency":"USD"} {}"#, "invalid_row"),
            (r#"{"from":"a","to":"b","amount":1,"currency":"USD","order":{"id":"","total":1}}"#, "invalid_order"),
            ("nonsense", "invalid_row"),
        ] {
            assert_eq!(code(parse(&RowFormat::Ndjson, &record(line))).0, expected, "{line}");
        }
    }

    #[test]
    fn a_header_names_known_columns_once_and_one_form_of_amounts() {
        for bad in [
            "from,to,amount",
            "from,to,currency",
            "from,to,amount,amount_minor,currency",
            "from,from,to,amount,currency",
            "from,to,amount,currency,note",
        ] {
            assert!(Columns::read(&record(bad)).is_err(), "{bad}");
        }
    }
}
