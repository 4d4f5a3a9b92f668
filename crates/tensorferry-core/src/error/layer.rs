//! How a layer lists its errors: each variant with its code and kind, once.

/// Defines the error enum of a layer, and `CODES`, `code` and `kind` from the same list.
///
/// Variants with a code of their own are followed by `= "code" / Kind`. `wrappers` take both from a
/// method `wrapped`, which the layer defines.
#[doc(hidden)]
#[macro_export]
macro_rules! layer_errors {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $(
                $(#[$error_meta:meta])*
                $error:ident
                $( ( $($tuple:ty),* ) )?
                $( { $( $(#[$field_meta:meta])* $field:ident : $field_type:ty ),* $(,)? } )?
                = $code:literal / $kind:ident
            ),* $(,)?
        }
        $(
            wrappers {
                $(
                    $(#[$wrapper_meta:meta])*
                    $wrapper:ident
                    $( ( $inner:ty ) )?
                    $( { $( $(#[$part_meta:meta])* $part:ident : $part_type:ty ),* $(,)? } )?
                ),* $(,)?
            }
        )?
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        pub enum $name {
            $(
                $(#[$error_meta])*
                $error
                $( ( $($tuple),* ) )?
                $( { $( $(#[$field_meta])* $field : $field_type ),* } )?,
            )*
            $($(
                $(#[$wrapper_meta])*
                $wrapper
                $( ( $inner ) )?
                $( { $( $(#[$part_meta])* $part : $part_type ),* } )?,
            )*)?
        }

        impl $name {
            /// The codes of this layer's own errors, each with its kind.
            pub const CODES: &'static [(&'static str, $crate::ErrorKind)] =
                &[ $( ($code, $crate::ErrorKind::$kind) ),* ];

            /// A short name that never changes, for programs that tell errors apart.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self {
                    $( Self::$error { .. } => $code, )*
                    $( $( Self::$wrapper { .. } => self.wrapped().0, )* )?
                }
            }

            /// What kind of error it is.
            #[must_use]
            pub fn kind(&self) -> $crate::ErrorKind {
                match self {
                    $( Self::$error { .. } => $crate::ErrorKind::$kind, )*
                    $( $( Self::$wrapper { .. } => self.wrapped().1, )* )?
                }
            }
        }
    };
}
