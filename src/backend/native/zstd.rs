//! Reading zstd files of many frames, as writers make them that work on all cores, or that leave an index at the end.
//!
//! The one idea: the decoder reads one frame, and stops behind it.
//!
//! Source: RFC 8878, frames and skippable frames.

use std::io::{self, Cursor, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// What a frame of content begins with.
pub const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What is read of, the first bytes of the frame at hand in front of it.
type Input<R> = io::Chain<Cursor<[u8; 4]>, R>;

/// Reads the content of all frames.
pub struct ZstdReader<R: Read> {
    /// Where the next frame begins; `None` inside of one.
    input: Option<R>,
    frame: Option<StreamingDecoder<Input<R>, FrameDecoder>>,
}

/// Says whether a file begins with a frame that holds no content.
pub fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

impl<R: Read> ZstdReader<R> {
    /// Reads from the beginning of a file.
    pub fn new(input: R) -> Self {
        Self { input: Some(input), frame: None }
    }

    /// Goes to the next frame with content; `false` at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        let Some(mut input) = self.input.take() else { return Ok(false) };
        loop {
            let mut magic = Vec::with_capacity(4);
            (&mut input).take(4).read_to_end(&mut magic)?;
            let magic: [u8; 4] = match magic.try_into() {
                Ok(magic) => magic,
                Err(rest) if Vec::is_empty(&rest) => return Ok(false),
                Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
            if !is_skippable(&magic) {
                let frame = StreamingDecoder::new(Cursor::new(magic).chain(input)).map_err(io::Error::other)?;
                self.frame = Some(frame);
                return Ok(true);
            }
            let mut size = [0; 4];
            input.read_exact(&mut size)?;
            let size = u64::from(u32::from_le_bytes(size));
            if io::copy(&mut (&mut input).take(size), &mut io::sink())? < size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl<R: Read> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let count = frame.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
                self.input = self.frame.take().map(|frame| frame.into_inner().into_inner().1);
            }
            if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(file: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        ZstdReader::new(file).read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn all_frames_are_read_and_those_without_content_are_passed_over() {
        let frame = |text: &str| compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
        let note = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let file = [&note[..], &frame("one "), &frame(""), &note, &frame(&"two ".repeat(50_000)), &note].concat();
        assert_eq!(read(&file).unwrap(), format!("one {}", "two ".repeat(50_000)));
        assert_eq!(read(b"").unwrap(), "");
        for cut in [2, 6, 9, note.len() + 2, note.len() + 8, file.len() - 1] {
            assert!(read(&file[..cut]).is_err(), "{cut}");
        }
        assert!(read(&[&frame("one")[..], b"junk"].concat()).is_err());
    }
}
