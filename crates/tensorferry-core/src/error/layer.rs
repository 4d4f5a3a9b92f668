//! How a layer lists its errors: each variant with its code, once.

/// Defines the error enum of a layer, and `CODES` from the same list.
///
/// `errors` have a code of their own; `wrappers` carry an error that has one, or share one.
#[doc(hidden)]
#[macro_export]
macro_rules! layer_errors {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            errors {
                $(
                    $(#[$error_meta:meta])*
                    $error:ident
                    $( ( $($tuple:ty),* ) )?
                    $( { $( $(#[$field_meta:meta])* $field:ident : $field_type:ty ),* $(,)? } )?
                    = $code:literal
                ),* $(,)?
            }
            wrappers {
                $(
                    $(#[$wrapper_meta:meta])*
                    $wrapper:ident
                    $( ( $($inner:ty),* ) )?
                    $( { $( $(#[$part_meta:meta])* $part:ident : $part_type:ty ),* $(,)? } )?
                ),* $(,)?
            }
        }
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
            $(
                $(#[$wrapper_meta])*
                $wrapper
                $( ( $($inner),* ) )?
                $( { $( $(#[$part_meta])* $part : $part_type ),* } )?,
            )*
        }

        impl $name {
            /// The codes that errors of this layer add to those of the layers below.
            #[allow(unused_doc_comments, reason = "as below")]
            pub const CODES: &'static [&'static str] = &[ $( $(#[$error_meta])* $code ),* ];

            /// The code of a variant that has one of its own.
            fn own_code(&self) -> Option<&'static str> {
                #[allow(unused_doc_comments, reason = "the attributes of a variant guard its arm")]
                match self {
                    $( $(#[$error_meta])* Self::$error { .. } => Some($code), )*
                    $( $(#[$wrapper_meta])* Self::$wrapper { .. } => None, )*
                }
            }
        }
    };
}
