//! Filters with names.

/// Writes the enum, the table of names and numbers of arguments, and the way from one to the other.
macro_rules! functions {
    ($($function:ident = $name:literal / $arguments:literal),+ $(,)?) => {
        /// A filter with a name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($function,)+ }

        /// All of them: name and number of arguments.
        const FUNCTIONS: &[(&str, usize, Function)] = &[$(($name, $arguments, Function::$function),)+];
    };
}

functions! {
    True = "true" / 0, False = "false" / 0, Null = "null" / 0, Not = "not" / 0, Empty = "empty" / 0,
    Length = "length" / 0, Utf8Length = "utf8bytelength" / 0, Type = "type" / 0,
    Keys = "keys" / 0, KeysUnsorted = "keys_unsorted" / 0, Has = "has" / 1,
    Map = "map" / 1, MapValues = "map_values" / 1, Select = "select" / 1, Recurse = "recurse" / 0,
    Values = "values" / 0, Nulls = "nulls" / 0, Booleans = "booleans" / 0, Numbers = "numbers" / 0,
    Strings = "strings" / 0, Arrays = "arrays" / 0, Objects = "objects" / 0, Scalars = "scalars" / 0,
    Iterables = "iterables" / 0,
    ToEntries = "to_entries" / 0, FromEntries = "from_entries" / 0, WithEntries = "with_entries" / 1,
    Add = "add" / 0, AddOf = "add" / 1, Any = "any" / 0, AnyOf = "any" / 1, All = "all" / 0, AllOf = "all" / 1,
    First = "first" / 0, FirstOf = "first" / 1, Last = "last" / 0, LastOf = "last" / 1,
    Limit = "limit" / 2, Range = "range" / 1, RangeFrom = "range" / 2, IsEmpty = "isempty" / 1,
    Flatten = "flatten" / 0, FlattenTo = "flatten" / 1, Reverse = "reverse" / 0,
    Sort = "sort" / 0, SortBy = "sort_by" / 1, GroupBy = "group_by" / 1,
    Unique = "unique" / 0, UniqueBy = "unique_by" / 1,
    Min = "min" / 0, MinBy = "min_by" / 1, Max = "max" / 0, MaxBy = "max_by" / 1,
    ToText = "tostring" / 0, ToNumber = "tonumber" / 0, ToJson = "tojson" / 0, FromJson = "fromjson" / 0,
    Lowercase = "ascii_downcase" / 0, Uppercase = "ascii_upcase" / 0,
    StartsWith = "startswith" / 1, EndsWith = "endswith" / 1,
    TrimPrefix = "ltrimstr" / 1, TrimSuffix = "rtrimstr" / 1,
    Trim = "trim" / 0, TrimStart = "ltrim" / 0, TrimEnd = "rtrim" / 0,
    Split = "split" / 1, Join = "join" / 1,
    Floor = "floor" / 0, Ceiling = "ceil" / 0, Round = "round" / 0, Absolute = "abs" / 0,
    Delete = "del" / 1, Walk = "walk" / 1, Error = "error" / 0, ErrorOf = "error" / 1,
}

impl Function {
    /// By its name, where it takes so many arguments.
    pub(super) fn named(name: &str, arguments: usize) -> Option<Self> {
        FUNCTIONS
            .iter()
            .find(|(known, number, _)| *known == name && *number == arguments)
            .map(|(_, _, function)| *function)
    }

    /// Whether it lets through what is of a type.
    pub(super) fn is_of_type(self) -> bool {
        matches!(
            self,
            Self::Values
                | Self::Nulls
                | Self::Booleans
                | Self::Numbers
                | Self::Strings
                | Self::Arrays
                | Self::Objects
                | Self::Scalars
                | Self::Iterables
        )
    }

    /// Whether it runs its argument itself, and makes one value however many that makes.
    pub(super) fn takes_filter(self) -> bool {
        matches!(
            self,
            Self::Map
                | Self::MapValues
                | Self::WithEntries
                | Self::AddOf
                | Self::AnyOf
                | Self::AllOf
                | Self::FirstOf
                | Self::LastOf
                | Self::IsEmpty
                | Self::SortBy
                | Self::GroupBy
                | Self::UniqueBy
                | Self::MinBy
                | Self::MaxBy
                | Self::Delete
                | Self::ErrorOf
        )
    }

    /// With how many arguments a name is known.
    pub(super) fn arguments_of(name: &str) -> Vec<usize> {
        FUNCTIONS
            .iter()
            .filter(|(known, _, _)| *known == name)
            .map(|(_, number, _)| *number)
            .collect()
    }

    /// All names, each once.
    pub(super) fn names() -> Vec<&'static str> {
        let mut names: Vec<&str> = FUNCTIONS.iter().map(|(name, _, _)| *name).collect();
        names.dedup();
        names
    }
}
