//! On the node that VIRGBM_CARD names; skipped without one, since most machines' nodes are somebody's screen.

use super::*;
use crate::host::Picture;
use crate::pixel;

/// The resolver, or word that it can't be tested here.
fn resolver() -> Option<GbmResolver> {
    let Some(node) = std::env::var_os("VIRGBM_CARD") else {
        eprintln!("skipped: VIRGBM_CARD names no node");
        return None;
    };
    match GbmResolver::new(Path::new(&node)) {
        Ok(resolver) => Some(resolver),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn allocate(resolver: &GbmResolver, support: &Support, width: u32, height: u32) -> Allocation {
    let request = BufferRequest::new(support.format, width, height, support.usages & (Usage::TEXTURE | Usage::CPU));
    let layout = resolver.layout(&request, support).unwrap();
    resolver.allocate(&Parameters::Image { request: &request, layout: &layout }, layout.size_bytes).unwrap()
}

#[test]
fn what_the_cpu_writes_to_a_dma_buf_is_what_libgbm_maps() {
    let Some(resolver) = resolver() else { return };
    println!("{}: {} formats", resolver.report().device, resolver.support().len());
    for support in resolver.support() {
        for (width, height) in [(1, 1), (129, 67)] {
            let made = allocate(&resolver, support, width, height);
            let layout = made.layout.unwrap();
            layout.check().unwrap();
            let mut bytes = vec![1; layout.size_bytes as usize];
            made.image.read(0, &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0), "{}: a new image is zeroed", support.format);
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                let colour = [x as f32 / width as f32, y as f32 / height as f32, 0.5, 1.0];
                pixel::store(&layout, &mut bytes, x, y, colour).unwrap();
            }
            made.image.write(0, &bytes).unwrap();
            assert_eq!(
                made.image.picture(&layout).unwrap(),
                Some(Picture::decode(&layout, &bytes).unwrap()),
                "{}",
                support.format
            );
            assert_eq!(made.image.export().unwrap().kind.name(), "dma-buf");
            assert!(made.image.read(layout.size_bytes, &mut [0]).is_err());
        }
    }
    assert_eq!(resolver.live_objects(), 0);
}

#[test]
fn what_libgbm_does_not_make_is_refused() {
    let Some(resolver) = resolver() else { return };
    let support = resolver.support()[0];
    let request = |width, layers| BufferRequest::new(support.format, width, 1, Usage::TEXTURE).with_layers(layers);
    for asked in [request(1 << 20, 1), request(64, 2)] {
        assert!(matches!(resolver.layout(&asked, &support), Err(ResolveError::Unsupported(Unsupported::Extent { .. }))));
    }
    let layout = resolver.layout(&request(64, 1), &support).unwrap();
    let parameters = Parameters::Image { request: &request(64, 1), layout: &layout };
    let refused = resolver.allocate(&parameters, layout.size_bytes - 1).err().unwrap();
    assert!(matches!(refused, ResolveError::Image(ImageRefused::Size { .. })), "{refused}");
    assert!(matches!(resolver.allocate(&Parameters::Memory, 4096), Err(ResolveError::NoResolver(_))));
    assert_eq!(resolver.live_objects(), 0);
}

#[test]
fn a_file_that_is_no_node_is_refused_by_name() {
    let refused = GbmResolver::new(Path::new("/dev/null")).err().unwrap().to_string();
    assert!(refused.contains("/dev/null") && (refused.contains("no DRM node") || refused.contains("libgbm.so.1")), "{refused}");
}
