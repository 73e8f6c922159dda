//! Layout arithmetic, and what is read from the wire: layouts and capsets that somebody else reports.

#![no_main]

use libfuzzer_sys::{arbitrary, fuzz_target};
use virgbm::wire::alloc::LayoutBody;
use virgbm::{Alignment, BufferRequest, Format, Layout, Offer, Usage};
use zerocopy::FromBytes;

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    format: u8,
    width: u32,
    height: u32,
    layers: u32,
    stride_bytes: u32,
    offset_bytes: u32,
    size_bytes: u32,
    wire: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let format = Format::all()[usize::from(input.format) % Format::all().len()];
    let request = BufferRequest::new(format, input.width, input.height, Usage::TEXTURE).with_layers(input.layers);
    let Input { stride_bytes, offset_bytes, size_bytes, .. } = input;
    if let Ok(layout) = Layout::linear(&request, Alignment { stride_bytes, offset_bytes, size_bytes }) {
        layout.check().unwrap();
        assert_eq!(Layout::try_from(&LayoutBody::from(&layout)).unwrap(), layout, "a layout survives the wire");
    }
    if let Ok((body, _)) = LayoutBody::read_from_prefix(input.wire) {
        if let Ok(layout) = Layout::try_from(&body) {
            assert!(layout.planes.iter().all(|plane| plane.offset_bytes + plane.size_bytes <= layout.size_bytes));
            for plane in 0..layout.planes.len() {
                layout.plane_region(plane, layout.whole());
            }
        }
    }
    if let Ok(offer) = Offer::decode(input.wire) {
        let _ = offer.table.choose(&request);
        assert_eq!(Offer::decode(&offer.encode()).unwrap(), offer, "an offer survives the wire");
    }
});
