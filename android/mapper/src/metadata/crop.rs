//! The crop: a rectangle for each plane, in the plane's samples, in the order of the plane layouts.

use virgbm_android_handle::planes::PlaneLayout;

/// Left, top, right and bottom, 32 bits each.
pub const RECTANGLE_BYTES: usize = 4 * size_of::<i32>();

/// All of every plane.
pub fn whole(planes: &[PlaneLayout]) -> Vec<u8> {
    let edges = planes.iter().flat_map(|plane| [0, 0, plane.width_samples as i32, plane.height_samples as i32]);
    edges.flat_map(i32::to_le_bytes).collect()
}

/// Whether there is a rectangle for each plane, none of them empty or outside its own.
pub fn holds(planes: &[PlaneLayout], payload: &[u8]) -> bool {
    let (rectangles, rest) = payload.as_chunks::<RECTANGLE_BYTES>();
    let inside = |(plane, rectangle): (&PlaneLayout, &[u8; RECTANGLE_BYTES])| is_inside(plane, rectangle);
    rest.is_empty() && rectangles.len() == planes.len() && planes.iter().zip(rectangles).all(inside)
}

fn is_inside(plane: &PlaneLayout, rectangle: &[u8]) -> bool {
    let (words, _) = rectangle.as_chunks();
    let [left, top, right, bottom] = words else { return false };
    let [left, top, right, bottom] = [left, top, right, bottom].map(|edge| i64::from(i32::from_le_bytes(*edge)));
    let (width, height) = (plane.width_samples as i64, plane.height_samples as i64);
    0 <= left && left < right && right <= width && 0 <= top && top < bottom && bottom <= height
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planes(sizes: &[(u64, u64)]) -> Vec<PlaneLayout> {
        let plane = |&(width_samples, height_samples): &(u64, u64)| PlaneLayout {
            components: Vec::new(),
            offset_bytes: 0,
            sample_increment_bits: 8,
            stride_bytes: 64,
            width_samples,
            height_samples,
            size_bytes: 4096,
            horizontal_subsampling: 1,
            vertical_subsampling: 1,
        };
        sizes.iter().map(plane).collect()
    }

    fn payload(rectangles: &[[i32; 4]]) -> Vec<u8> {
        rectangles.iter().flatten().flat_map(|edge| edge.to_le_bytes()).collect()
    }

    #[test]
    fn by_itself_it_is_all_of_every_plane() {
        let nv12 = planes(&[(65, 33), (33, 17)]);
        assert_eq!(whole(&nv12), payload(&[[0, 0, 65, 33], [0, 0, 33, 17]]));
        assert!(holds(&nv12, &whole(&nv12)));
    }

    #[test]
    fn each_plane_has_one_rectangle_that_is_inside_its_own_samples() {
        let nv12 = planes(&[(64, 32), (32, 16)]);
        assert!(holds(&nv12, &payload(&[[8, 8, 64, 32], [4, 4, 32, 16]])));
        for bad in [
            &[[8, 8, 64, 32]][..],
            &[[8, 8, 64, 32], [4, 4, 32, 16], [4, 4, 32, 16]],
            &[[0, 0, 64, 32], [0, 0, 64, 32]],
            &[[0, 0, 64, 32], [-1, 0, 32, 16]],
            &[[0, 0, 64, 32], [0, 16, 32, 16]],
            &[[0, 0, 65, 32], [0, 0, 32, 16]],
        ] {
            assert!(!holds(&nv12, &payload(bad)), "{bad:?}");
        }
        let whole = whole(&nv12);
        assert!(!holds(&nv12, &whole[..31]) && !holds(&nv12, &[]));
    }
}
