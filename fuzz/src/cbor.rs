//! A second decoder of CBOR, independent of the function's.

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};
use serde_json::{Map, Value};

/// The value that these bytes are in CBOR, in JSON. What JSON cannot say becomes `false`, which is no
/// member's type.
///
/// # Errors
/// The bytes are not one value.
pub fn to_json(bytes: &[u8]) -> Result<Value, Error> {
    let mut decoder = Decoder::new(bytes);
    let value = value(&mut decoder)?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(Error::message("more bytes")) }
}

fn value(decoder: &mut Decoder<'_>) -> Result<Value, Error> {
    Ok(match decoder.datatype()? {
        Type::Null => {
            decoder.null()?;
            Value::Null
        }
        Type::Undefined => {
            decoder.undefined()?;
            Value::Null
        }
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => i64::try_from(decoder.int()?).map_or(Value::Bool(false), Value::from),
        Type::String | Type::StringIndef => {
            decoder.str_iter()?.collect::<Result<String, _>>()?.into()
        }
        Type::Bytes | Type::BytesIndef => {
            decoder.bytes_iter()?.try_for_each(|piece| piece.map(drop))?;
            Value::Bool(false)
        }
        Type::Array | Type::ArrayIndef => array(decoder)?,
        Type::Map | Type::MapIndef => map(decoder)?,
        Type::Tag => {
            let tag = decoder.tag()?.as_u64();
            if matches!(tag, 2 | 3) && matches!(decoder.datatype()?, Type::Bytes | Type::BytesIndef)
            {
                let pieces = decoder.bytes_iter()?.collect::<Result<Vec<_>, _>>()?;
                big_integer(&pieces.concat(), tag == 3)
            } else {
                value(decoder)?;
                Value::Bool(false)
            }
        }
        Type::Bool | Type::F16 | Type::F32 | Type::F64 | Type::Simple => {
            decoder.skip()?;
            Value::Bool(false)
        }
        Type::Break | Type::Unknown(_) => return Err(Error::message("no value")),
    })
}

fn array(decoder: &mut Decoder<'_>) -> Result<Value, Error> {
    let mut count = decoder.array()?;
    let mut values = vec![];
    while has_more(decoder, &mut count)? {
        values.push(value(decoder)?);
    }
    Ok(values.into())
}

/// A name that is no text, or that stands twice, makes it no object.
fn map(decoder: &mut Decoder<'_>) -> Result<Value, Error> {
    let mut count = decoder.map()?;
    let (mut members, mut is_object) = (Map::new(), true);
    while has_more(decoder, &mut count)? {
        match (value(decoder)?, value(decoder)?) {
            (Value::String(name), value) => is_object &= members.insert(name, value).is_none(),
            _ => is_object = false,
        }
    }
    Ok(if is_object { members.into() } else { Value::Bool(false) })
}

fn has_more(decoder: &mut Decoder<'_>, count: &mut Option<u64>) -> Result<bool, Error> {
    match count {
        Some(0) => Ok(false),
        Some(count) => {
            *count -= 1;
            Ok(true)
        }
        None if decoder.datatype()? == Type::Break => {
            decoder.set_position(decoder.position() + 1);
            Ok(false)
        }
        None => Ok(true),
    }
}

fn big_integer(bytes: &[u8], is_negative: bool) -> Value {
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    if bytes.len() > 8 {
        return Value::Bool(false);
    }
    let number = bytes.iter().fold(0, |number, byte| number << 8 | i128::from(*byte));
    let number = if is_negative { -1 - number } else { number };
    i64::try_from(number).map_or(Value::Bool(false), Value::from)
}
