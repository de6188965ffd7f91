//! Values of several utterances or texts, one a row: put together, and taken apart again.

use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};

/// Features of single utterances, `[1, frames, width]` each, as rows of one value: the
/// shorter ones are filled up with zeros.
///
/// # Errors
/// When one has another shape or is not of `f32`.
pub(in crate::asr) fn stacked(mut features: Vec<DynValue>) -> ort::Result<DynValue> {
    if features.len() == 1
        && let Some(features) = features.pop()
    {
        return Ok(features);
    }
    let views = features.iter().map(|one| one.try_extract_tensor::<f32>()).collect::<ort::Result<Vec<_>>>()?;
    let longest = views.iter().map(|(_, data)| data.len()).max().unwrap_or(0);
    let width = match views.first().map(|(shape, _)| &shape[..]) {
        Some(&[1, _, width]) if width > 0 => width as usize,
        _ => return Err(ort::Error::new("features are not of one utterance")),
    };
    let mut all = Vec::with_capacity(views.len() * longest);
    for (_, data) in &views {
        all.extend_from_slice(data);
        all.resize(all.len() + longest - data.len(), 0.0);
    }
    Ok(Tensor::from_array(([views.len(), longest / width, width], all))?.into_dyn())
}

/// The rows of `value` at `places`, in that order.
///
/// # Errors
/// When it is not of `T` or has no such row.
pub(in crate::asr) fn kept<T>(value: &DynValue, places: &[usize]) -> ort::Result<DynValue>
where
    T: PrimitiveTensorElementType + Copy + std::fmt::Debug + 'static,
{
    let (shape, data) = value.try_extract_tensor::<T>()?;
    let rows = shape.first().map_or(0, |&rows| rows as usize);
    let mut shape = shape.to_vec();
    let Some(first) = shape.first_mut().filter(|_| places.iter().all(|&place| place < rows)) else {
        return Err(ort::Error::new("there is no such row"));
    };
    *first = places.len() as i64;
    let width = data.len() / rows.max(1);
    let mut kept: Vec<T> = Vec::with_capacity(places.len() * width);
    places.iter().for_each(|&place| kept.extend_from_slice(&data[place * width..(place + 1) * width]));
    Ok(Tensor::from_array((shape, kept))?.into_dyn())
}
