//! One zstd stream each way for as long as a session lasts: each payload ends with a flush and is
//! packed with what the ones before it said in mind, so that many small frames cost what one large
//! one does. (PROTOCOL.md, 1.1)

use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

/// How far back a stream looks, as a power of two: 1 MiB. Both ends keep as much; one that demands
/// more is refused.
const WINDOW_LOG: u32 = 20;
/// zstd's own default: 350 MB/s and more.
const LEVEL: i32 = 3;

/// Packs what is sent. Takes some 2.5 MiB once there is something to pack.
#[derive(Default)]
pub(crate) struct Packer(Option<Encoder<'static>>);

impl Packer {
    /// Appends the payload as the stream goes on; an error only where memory is short.
    pub(crate) fn pack(&mut self, payload: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        let stream = match &mut self.0 {
            Some(stream) => stream,
            none => {
                let mut stream = Encoder::new(LEVEL)?;
                stream.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
                none.insert(stream)
            }
        };
        let mut input = InBuffer::around(payload);
        loop {
            out.reserve(payload.len() / 2 + 128);
            let start = out.len();
            let mut output = OutBuffer::around_pos(out, start);
            if input.pos() < payload.len() {
                stream.run(&mut input, &mut output)?;
            }
            if input.pos() == payload.len() && stream.flush(&mut output)? == 0 {
                return Ok(());
            }
        }
    }
}

/// Unpacks what comes. Takes some 1.2 MiB once there is something to unpack.
#[derive(Default)]
pub(crate) struct Unpacker(Option<Decoder<'static>>);

impl Unpacker {
    /// The next payload, which has `length` bytes; nothing if the stream does not go on like that.
    pub(crate) fn unpack(&mut self, packed: &[u8], length: usize) -> Option<Vec<u8>> {
        let stream = match &mut self.0 {
            Some(stream) => stream,
            none => {
                let mut stream = Decoder::new().ok()?;
                stream.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).ok()?;
                none.insert(stream)
            }
        };
        let most = (length + 1).min(128 << 10);
        let (mut payload, mut room) = (Vec::with_capacity(length), vec![0; most]);
        let mut input = InBuffer::around(packed);
        loop {
            let before = (input.pos(), payload.len());
            // a byte more than was announced, by which it shows if there is more
            let mut output = OutBuffer::around(&mut room[..(length + 1 - payload.len()).min(most)]);
            stream.run(&mut input, &mut output).ok()?;
            payload.extend_from_slice(output.as_slice());
            if (input.pos(), payload.len()) == before || payload.len() > length {
                break;
            }
        }
        (input.pos() == packed.len() && payload.len() == length).then_some(payload)
    }
}
