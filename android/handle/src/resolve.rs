//! From a [`Descriptor`] to a [`BufferRequest`], by the one rule that also answers whether it is supported.

use crate::format::{HalFormat, Rule};
use crate::metadata::{MAX_RESERVED_BYTES, NAME_BYTES, Slot, name_text};
use crate::refusal::Refusal;
use crate::usage::{Asked, CAMERA, VIDEO};
use virgbm::guest::Device;
use virgbm::{BufferRequest, Format, FormatClass, Unsupported, Usage};

/// `BufferDescriptorInfo` of `IAllocator`, and the arguments of gralloc0's `alloc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// With zeros behind; the last byte is taken for one.
    pub name: [u8; NAME_BYTES],
    /// In pixels; of BLOB in bytes.
    pub width: i32,
    /// In pixels; of BLOB 1.
    pub height: i32,
    /// At least 1.
    pub layer_count: i32,
    /// The HAL's number.
    pub format: i32,
    /// The HAL's bits.
    pub usage: u64,
    /// Bytes of shared memory for the client.
    pub reserved_bytes: i64,
    /// `additionalOptions`.
    pub options: Vec<OptionValue>,
}

/// `ExtendableType` as it stands in a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionValue {
    /// The name of the enumeration.
    pub name: String,
    /// The value.
    pub value: i64,
}

/// The options that are known, and the metadata that each sets: both are enumerations of 32 bits.
const OPTIONS: [(&str, Slot); 2] = [
    ("android.hardware.graphics.common.Dataspace", Slot::Dataspace),
    ("android.hardware.graphics.common.BlendMode", Slot::BlendMode),
];

/// What makes a descriptor's buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What is asked of the host. Its size may be larger than the descriptor's.
    pub request: BufferRequest,
    /// The width and height that holders of the handle know.
    pub size: (u32, u32),
    /// The metadata that the options set.
    pub settings: Vec<(Slot, [u8; 4])>,
}

impl Descriptor {
    /// A descriptor of one layer, without a name or anything reserved.
    pub fn new(width: i32, height: i32, format: i32, usage: u64) -> Self {
        let name = [0; NAME_BYTES];
        Self { name, width, height, layer_count: 1, format, usage, reserved_bytes: 0, options: Vec::new() }
    }

    /// The same with a name, which is cut where it is too long.
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = [0; NAME_BYTES];
        for (to, from) in self.name.iter_mut().take(NAME_BYTES - 1).zip(name.bytes()) {
            *to = from;
        }
        self
    }

    /// The name up to the first zero, as far as it is UTF-8.
    pub fn name(&self) -> String {
        name_text(&self.name)
    }

    /// What the device makes of it; allocates nothing.
    ///
    /// # Errors
    /// [`Refusal`], which says what is missing.
    pub fn resolve(&self, device: &Device) -> Result<Resolved, Refusal> {
        let (width, height, layers) = self.extent()?;
        if !(0..=MAX_RESERVED_BYTES as i64).contains(&self.reserved_bytes) {
            return Err(Refusal::Reserved(self.reserved_bytes));
        }
        let settings = self.settings()?;
        let row = HalFormat::of(self.format).ok_or(Refusal::UnknownFormat(self.format))?;
        let asked = Asked::from_word(self.usage)?;
        let mut refused = match row.rule {
            Rule::Nothing(why) => return Err(Refusal::NoSuchFormat { name: row.name, why }),
            Rule::Bytes if height != 1 => return Err(Refusal::BlobHeight(height)),
            _ => None,
        };
        // Where there is a choice, what serves all wishes goes before what serves some.
        let wishes = [Wishes::All, Wishes::Some];
        let tries = wishes.into_iter().flat_map(|wishes| candidates(row, asked).map(move |format| (wishes, format)));
        for (wishes, format) in tries {
            let request = BufferRequest::new(format, width, height, Usage::empty()).with_layers(layers).with_name(self.name());
            match fit(device, request, asked, wishes, row) {
                Ok(request) => {
                    let size = if row.rule == Rule::Bytes { (request.width, request.height) } else { (width, height) };
                    return Ok(Resolved { request, size, settings });
                }
                // The first is the preferred one, so its reason is the one to tell.
                Err(refusal) if wishes == Wishes::Some => refused = refused.or(Some(refusal)),
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or(Refusal::UnknownFormat(self.format)))
    }

    fn extent(&self) -> Result<(u32, u32, u32), Refusal> {
        let Self { width, height, layer_count, .. } = *self;
        match (u32::try_from(width), u32::try_from(height), u32::try_from(layer_count)) {
            (Ok(width @ 1..), Ok(height @ 1..), Ok(layers @ 1..)) => Ok((width, height, layers)),
            _ => Err(Refusal::Empty { width, height, layers: layer_count }),
        }
    }

    fn settings(&self) -> Result<Vec<(Slot, [u8; 4])>, Refusal> {
        let setting = |option: &OptionValue| {
            let refused = || Refusal::Option(option.name.clone(), option.value);
            let (_, slot) = OPTIONS.iter().find(|(name, _)| *name == option.name).ok_or_else(refused)?;
            let value = i32::try_from(option.value).map_err(|_| refused())?;
            Ok((*slot, value.to_le_bytes()))
        };
        self.options.iter().map(setting).collect()
    }
}

/// What a format may be made of for this usage. GPUs draw RGB; cameras and video speak YUV.
fn candidates(row: &'static HalFormat, asked: Asked) -> impl Iterator<Item = Format> {
    let usage = asked.required;
    let yuv = usage.intersects(CAMERA) || usage.intersects(VIDEO) && !usage.contains(Usage::RENDER);
    let fits = move |format: &Format| {
        row.rule != Rule::ByUsage || format.info().is_some_and(|info| (info.class == FormatClass::Yuv) == yuv)
    };
    row.formats.iter().copied().filter(fits)
}

/// How many of the wishes must come true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wishes {
    All,
    Some,
}

/// The request as the host serves it: with as many of the wishes as go with what must be.
fn fit(device: &Device, request: BufferRequest, asked: Asked, wishes: Wishes, row: &HalFormat) -> Result<BufferRequest, Refusal> {
    let Asked { mut required, mut wished } = asked.for_format(request.format);
    let mut request = if row.rule == Rule::Bytes { folded(device, request) } else { request };
    loop {
        request.usage = required | wished;
        let refusal = match check(device, &request) {
            Ok(()) => break,
            Err(refusal) => refusal,
        };
        let missing = missing_of(&refusal, &request);
        if wishes == Wishes::Some && !(wished & missing).is_empty() {
            wished -= missing;
        } else if missing == Usage::FRONT_RENDERING && required.contains(missing) {
            // What is shown while it is drawn must be rows, and nothing else where no host speaks of it.
            required = (required - missing) | Usage::LINEAR;
        } else {
            return Err(Refusal::Format { name: row.name, source: Box::new(refusal) });
        }
        if (required | wished).is_empty() {
            return Err(Refusal::Format { name: row.name, source: Box::new(refusal) });
        }
    }
    request.width = widened(device, &request)?;
    Ok(request)
}

fn check(device: &Device, request: &BufferRequest) -> Result<(), Refusal> {
    request.check()?;
    device.offer().table.choose(request)?;
    Ok(())
}

/// The usages of a request for which it was refused.
fn missing_of(refusal: &Refusal, request: &BufferRequest) -> Usage {
    match refusal {
        Refusal::Unsupported(Unsupported::Usage { missing, .. }) => *missing,
        // A cursor needs alpha, and a display shows no sensor data.
        Refusal::Request(_) => request.usage & (Usage::CURSOR | Usage::SCANOUT),
        _ => Usage::empty(),
    }
}

/// Bytes in rows, where they are more than a row of the host's can be; rows follow each other without a gap.
fn folded(device: &Device, mut request: BufferRequest) -> BufferRequest {
    let longest = device.offer().table.largest().width;
    if request.width > longest && longest > 0 {
        let row = 1 << longest.min(1 << 16).ilog2();
        request.height = request.width.div_ceil(row);
        request.width = row;
    }
    request
}

/// The smallest width from the request's on whose rows are whole pixels, which 64 bytes of RGB with three bytes each are not: the
/// HAL tells a stride in pixels.
fn widened(device: &Device, request: &BufferRequest) -> Result<u32, Refusal> {
    let support = device.offer().table.choose(request)?;
    let [plane] = request.format.planes() else { return Ok(request.width) };
    let (block, samples) = (u32::from(plane.block_bytes), u32::from(plane.block_width));
    if block.is_power_of_two() || !support.guest_layout {
        return Ok(request.width);
    }
    let alignment = support.alignment.stride_bytes;
    let divisor = (1..=block).rev().find(|divisor| block % divisor == 0 && alignment % divisor == 0).unwrap_or(1);
    let unit = samples.saturating_mul(alignment / divisor);
    Ok(request.width.checked_next_multiple_of(unit).unwrap_or(request.width))
}
