//! Which functions there are, and what they take.

use jiff::tz::TimeZone;
use tollgate_model::FromText as _;
use tollgate_model::gateway::Network;
use tollgate_model::issue::nearest;

use super::check::{Checked, Checker};
use super::moment::{PARTS, Part, moment, span};
use super::program::{Conversion, LoopKind, Node, Search};
use super::syntax::{Expression, Fault, Kind, Literal};
use super::types::Type;
use crate::limit::calendar::Zone;

/// Functions that are called by their name alone.
const FUNCTIONS: [&str; 7] = ["has", "size", "string", "int", "double", "timestamp", "duration"];

/// Functions that are called on a value.
const METHODS: [&str; 12] = [
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "size",
    "lowerAscii",
    "containsIP",
    "all",
    "exists",
    "exists_one",
    "filter",
    "map",
];

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        at: usize,
        name: &str,
        target: Option<&Expression>,
        arguments: &[Expression],
    ) -> Checked {
        match (target, arguments) {
            (Some(target), _) => self.method(at, name, target, arguments),
            (None, _) if name == "has" => self.has(at, arguments),
            (None, _) if name == "cidr" => {
                let problem = "a network is asked for an address, as in cidr(\"10.0.0.0/8\").containsIP(client.ip)";
                self.fault(Fault::new(at, "wrong_type", problem))
            }
            (None, [argument]) => self.function(at, name, argument),
            (None, _) if FUNCTIONS.contains(&name) => {
                self.wrong_type(at, format!("{name}() takes one argument"))
            }
            (None, _) => self.unknown(at, name),
        }
    }

    fn function(&mut self, at: usize, name: &str, argument: &Expression) -> Checked {
        match name {
            "size" => self.size(argument),
            "string" => self.convert(name, argument, Conversion::Text),
            "int" => self.convert(name, argument, Conversion::Int),
            "double" => self.convert(name, argument, Conversion::Double),
            "timestamp" => self.timestamp(argument),
            "duration" => self.duration(argument),
            _ => self.unknown(at, name),
        }
    }

    fn unknown(&mut self, at: usize, name: &str) -> Checked {
        let hint = if METHODS.contains(&name) {
            format!("it is called on a value, as in value.{name}(…)")
        } else {
            nearest(name, &[&FUNCTIONS[..], &["cidr"]].concat())
        };
        self.fault(Fault::new(
            at,
            "unknown_function",
            format!("`{name}` is not a function; {hint}"),
        ))
    }

    fn convert(&mut self, name: &str, argument: &Expression, conversion: Conversion) -> Checked {
        let Checked { node, kind } = self.check(argument);
        let (taken, result): (&[Type], _) = match conversion {
            Conversion::Text => (&[Type::Text, Type::Int, Type::Bool], Type::Text),
            Conversion::Int => (&[Type::Int, Type::Text, Type::Time], Type::Int),
            Conversion::Double => (&[Type::Double, Type::Int, Type::Text], Type::Double),
            Conversion::Time => (&[Type::Time, Type::Int, Type::Text], Type::Time),
            Conversion::Size | Conversion::LowerCase => (&[], Type::Any),
        };
        if !taken.iter().any(|taken| kind.may_be(taken)) {
            let names: Vec<String> = taken.iter().map(Type::to_string).collect();
            let problem = format!("{name}() takes {}, and this is {kind}", names.join(" or "));
            return self.wrong_type(argument.at, problem);
        }
        Checked { node: Node::Convert(conversion, Box::new(node)), kind: result }
    }

    fn size(&mut self, of: &Expression) -> Checked {
        let Checked { node, kind } = self.check(of);
        if !matches!(kind, Type::Any | Type::Text | Type::List(_) | Type::Map(_)) {
            let problem = format!("size() takes a string, a list or a map, and this is {kind}");
            return self.wrong_type(of.at, problem);
        }
        Checked { node: Node::Convert(Conversion::Size, Box::new(node)), kind: Type::Int }
    }

    /// A moment: read once where it is written out.
    fn timestamp(&mut self, argument: &Expression) -> Checked {
        let Kind::Literal(Literal::Text(text)) = &argument.kind else {
            return self.convert("timestamp", argument, Conversion::Time);
        };
        match moment(text) {
            Some(moment) => Checked { node: Node::Moment(moment), kind: Type::Time },
            None => {
                let problem = format!(
                    "`{}` is not a moment such as 2026-01-31T08:00:00Z",
                    text.escape_debug()
                );
                self.fault(Fault::new(argument.at, "invalid_timestamp", problem))
            }
        }
    }

    fn duration(&mut self, argument: &Expression) -> Checked {
        let Kind::Literal(Literal::Text(text)) = &argument.kind else {
            let problem = "duration() takes a text that is written out, such as \"90m\"";
            return self.fault(Fault::unsupported(argument.at, problem));
        };
        match span(text) {
            Some(span) => Checked { node: Node::Span(span), kind: Type::Span },
            None => {
                let problem = format!("`{}` is not a duration such as 1h30m", text.escape_debug());
                self.fault(Fault::new(argument.at, "invalid_duration", problem))
            }
        }
    }

    fn method(
        &mut self,
        at: usize,
        name: &str,
        target: &Expression,
        arguments: &[Expression],
    ) -> Checked {
        let kind = match name {
            "all" => Some(LoopKind::All),
            "exists" => Some(LoopKind::Exists),
            "exists_one" => Some(LoopKind::ExistsOne),
            "filter" => Some(LoopKind::Filter),
            "map" => Some(LoopKind::Map),
            _ => None,
        };
        if let Some(kind) = kind {
            return self.each(kind, target, arguments);
        }
        if let Some((_, part)) = PARTS.iter().find(|(known, _)| *known == name) {
            return self.part(name, *part, target, arguments);
        }
        match (name, arguments) {
            ("size", []) => self.size(target),
            ("lowerAscii", []) => {
                let node = self.expect(target, &Type::Text, "lowerAscii()");
                let node = Node::Convert(Conversion::LowerCase, Box::new(node));
                Checked { node, kind: Type::Text }
            }
            ("contains", [part]) => self.search(Search::Anywhere, name, target, part),
            ("startsWith", [part]) => self.search(Search::AtStart, name, target, part),
            ("endsWith", [part]) => self.search(Search::AtEnd, name, target, part),
            ("matches", [pattern]) => self.matches(target, pattern),
            ("containsIP", [address]) => self.contains_ip(target, address),
            _ if METHODS.contains(&name) => {
                let number = if matches!(name, "size" | "lowerAscii") { "no" } else { "one" };
                self.wrong_type(at, format!("{name}() takes {number} argument here"))
            }
            _ => {
                let mut known = METHODS.to_vec();
                known.extend(PARTS.iter().map(|(part, _)| *part));
                let hint = if FUNCTIONS.contains(&name) {
                    format!("it is called by its name alone, as in {name}(value)")
                } else {
                    nearest(name, &known)
                };
                let problem = format!("`{name}` is not a function of a value; {hint}");
                self.fault(Fault::new(at, "unknown_function", problem))
            }
        }
    }

    fn search(
        &mut self,
        search: Search,
        name: &str,
        target: &Expression,
        part: &Expression,
    ) -> Checked {
        let place = format!("{name}()");
        let text = self.expect(target, &Type::Text, &place);
        let part = self.expect(part, &Type::Text, &place);
        Checked { node: Node::Search(search, Box::new([text, part])), kind: Type::Bool }
    }

    fn part(
        &mut self,
        name: &str,
        part: Part,
        target: &Expression,
        arguments: &[Expression],
    ) -> Checked {
        let node = self.expect(target, &Type::Time, &format!("{name}()"));
        let zone = match arguments {
            [] => TimeZone::UTC,
            [Expression { kind: Kind::Literal(Literal::Text(zone)), at, .. }] => {
                match Zone::from_text(zone) {
                    Ok(zone) => zone.into_time_zone(),
                    Err(rejected) => {
                        return self.fault(Fault::new(*at, rejected.code, rejected.problem));
                    }
                }
            }
            [other, ..] => {
                let problem = format!(
                    "{name}() takes a time zone that is written out, such as \"Europe/Berlin\""
                );
                return self.fault(Fault::unsupported(other.at, problem));
            }
        };
        Checked { node: Node::Part(part, zone, Box::new(node)), kind: Type::Int }
    }

    /// `cidr("10.0.0.0/8").containsIP(address)`, named as in Kubernetes.
    fn contains_ip(&mut self, target: &Expression, address: &Expression) -> Checked {
        let address = self.expect(address, &Type::Text, "containsIP()");
        let network = match &target.kind {
            Kind::Call { name, target: None, arguments } if name == "cidr" => match &**arguments {
                [Expression { kind: Kind::Literal(Literal::Text(text)), .. }] => Some(text),
                _ => None,
            },
            _ => None,
        };
        let Some(text) = network else {
            let problem = "containsIP() is called on a network that is written out, as in cidr(\"10.0.0.0/8\").containsIP(client.ip)";
            return self.fault(Fault::unsupported(target.at, problem));
        };
        match Network::from_text(text) {
            Ok(network) if is_mapped(&network) => {
                let problem = "is a network of IPv4 in the clothes of IPv6; give it as IPv4, for so addresses are compared";
                self.fault(Fault::new(target.at, "invalid_network", problem))
            }
            Ok(network) => {
                Checked { node: Node::Within(Box::new(address), network), kind: Type::Bool }
            }
            Err(rejected) => self.fault(Fault::new(target.at, rejected.code, rejected.problem)),
        }
    }
}

fn is_mapped(network: &Network) -> bool {
    network.0.prefix_len() >= 96
        && network.0.network().to_canonical().is_ipv4() != network.0.network().is_ipv4()
}
